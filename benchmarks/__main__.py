"""`./dev bench`: runs all measurements, or those that are named."""

import argparse
from collections.abc import Callable, Mapping

from benchmarks import backlog, growth, intake, isolation, mapping, trickle

ALL: Mapping[str, Callable[[], None]] = {
    "mapping": mapping.run,
    "intake": intake.run,
    "backlog": backlog.run,
    "trickle": trickle.run,
    "growth": growth.run,
    "isolation": isolation.run,
}


def main() -> None:
    """Runs the measurements of these names; exit code 2 for a name that does not exist."""
    parser = argparse.ArgumentParser(prog="./dev bench", description="Measurements that anyone can repeat.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(ALL)}; all without one")
    parser.add_argument("--rows", type=int, default=growth.LARGE, help="growth: orders in the large ledger")
    asked = parser.parse_args()
    if unknown := [name for name in asked.names if name not in ALL]:
        parser.error(f"no measurement named {', '.join(unknown)}; there are {', '.join(ALL)}")
    for name in asked.names or ALL:
        if name == "growth":
            growth.run(asked.rows)
        else:
            ALL[name]()


if __name__ == "__main__":
    main()
