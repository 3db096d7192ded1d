"""`python -m blog NAME`; with no name it lists what can run."""

import sys

from blog.cli.commands import main

if __name__ == "__main__":
    sys.exit(main())
