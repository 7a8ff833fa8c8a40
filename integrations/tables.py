"""The tables of the guides, made from the adapters so that they cannot lag. A test compares."""

import sys

from integrations import discovery

HEADS = ("Destination", "Dedup key", "Oldest order", "Batch", "Refunds", "Test mode", "Consent")


def destinations() -> str:
    """Every destination in a row of a Markdown table."""
    rows = [HEADS, tuple("---" for _ in HEADS)]
    for adapter in discovery.destinations().values():
        summary = adapter.summary
        rows.append(
            (
                f"{adapter.label} (`{adapter.slug}`)",
                summary.dedup_key,
                summary.window,
                str(adapter.batch_limit),
                summary.refunds,
                summary.test_mode,
                summary.consent,
            )
        )
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def stores() -> str:
    """Every store in a row of a Markdown table."""
    rows = ["| Store | Where to register the webhook |", "| --- | --- |"]
    rows += [
        f"| {store.label} (`{slug}`) | {' '.join(store.guide.split())} |"
        for slug, store in discovery.stores().items()
    ]
    return "\n".join(rows)


def filled_in(document: str) -> str:
    """The document with what stands between its markers (``<!-- destinations -->``) made anew."""
    for name, table in (("destinations", destinations()), ("stores", stores())):
        head, tail = f"<!-- {name} -->", f"<!-- /{name} -->"
        if head in document and tail in document:
            before, _, rest = document.partition(head)
            document = f"{before}{head}\n{table}\n{tail}{rest.partition(tail)[2]}"
    return document


if __name__ == "__main__":
    sys.stdout.write(f"{stores()}\n\n{destinations()}\n")
