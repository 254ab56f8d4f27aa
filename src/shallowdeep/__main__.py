"""``shallowdeep``, ``python -m shallowdeep``, and what ``accelerate launch -m shallowdeep`` starts."""

# ruff: noqa: PLC0415 - the import takes long enough to be interrupted
from __future__ import annotations

import sys

INTERRUPTED = 130  # what shells report for Ctrl-C


def main() -> None:
    """Run the command line; Ctrl-C while the program is still being loaded ends it without a traceback."""
    try:
        from shallowdeep.cli.sharing import processor_shared

        with processor_shared(sys.argv[1:]):
            from shallowdeep.cli.main import main as program

            program()
    except KeyboardInterrupt:
        sys.stderr.write("shallowdeep: interrupted\n")
        sys.exit(INTERRUPTED)


if __name__ == "__main__":
    main()
