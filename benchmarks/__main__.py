"""`./dev bench`: runs all measurements, or those that are named."""

import argparse
from collections.abc import Callable, Mapping

from benchmarks import backlog, burst, growth, intake, isolation, mapping, memory, trickle

ALL: Mapping[str, Callable[[], None]] = {
    "mapping": mapping.run,
    "intake": intake.run,
    "backlog": backlog.run,
    "burst": burst.run,
    "trickle": trickle.run,
    "growth": growth.run,
    "memory": memory.run,
    "isolation": isolation.run,
}
COUNTED: Mapping[str, Callable[[int], None]] = {
    "backlog": backlog.run,
    "burst": burst.run,
    "growth": growth.run,
    "memory": memory.run,
}
"""Those whose number of orders may be chosen: what they do without a choice takes a minute or two."""


def main() -> None:
    """Runs the measurements of these names; exit code 2 for a name that does not exist."""
    parser = argparse.ArgumentParser(prog="./dev bench", description="Measurements that anyone can repeat.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(ALL)}; all without one")
    parser.add_argument("--orders", type=int, help=f"how many, for {', '.join(COUNTED)}")
    asked = parser.parse_args()
    if unknown := [name for name in asked.names if name not in ALL]:
        parser.error(f"no measurement named {', '.join(unknown)}; there are {', '.join(ALL)}")
    for name in asked.names or ALL:
        if asked.orders and name in COUNTED:
            COUNTED[name](asked.orders)
        else:
            ALL[name]()


if __name__ == "__main__":
    main()
