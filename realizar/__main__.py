"""`python -m realizar`: the command line."""

import sys

from realizar.cli import main

if __name__ == "__main__":
    sys.exit(main())
