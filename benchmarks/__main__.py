"""`./dev bench`: runs all measurements, or those that are named."""

import sys
from collections.abc import Callable, Mapping

from benchmarks import intake, isolation, mapping

ALL: Mapping[str, Callable[[], None]] = {
    "mapping": mapping.run,
    "intake": intake.run,
    "isolation": isolation.run,
}


def main(names: list[str]) -> int:
    """Runs the measurements of these names; exit code 2 for a name that does not exist."""
    unknown = [name for name in names if name not in ALL]
    if unknown:
        sys.stderr.write(f"Error: no measurement named {', '.join(unknown)}; there are {', '.join(ALL)}\n")
        return 2
    for name in names or ALL:
        ALL[name]()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
