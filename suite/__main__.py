"""``python -m suite`` and the command ``suite``."""

import sys

from suite.cli.commands import main

if __name__ == "__main__":
    sys.exit(main())
