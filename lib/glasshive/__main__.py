"""``python -m glasshive``."""

import sys

from glasshive.cli import main

if __name__ == "__main__":
    sys.exit(main())
