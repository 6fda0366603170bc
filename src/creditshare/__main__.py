"""``python -m creditshare``: the command line, or the worker without it."""

import sys
from importlib import import_module

from creditshare.errors import CreditshareError


def main() -> None:
    """Run what the arguments name. A worker lives long and needs no command but itself, so it loads none."""
    if sys.argv[1:2] != ["worker"] or "--help" in sys.argv:
        import_module("creditshare.cli").main()
        return
    try:
        import_module("creditshare.worker").main()
    except CreditshareError as error:
        import_module("creditshare.cli").fail(error)


if __name__ == "__main__":
    main()
