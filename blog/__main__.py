"""`python -m blog NAME`; with no name it lists what can run.

A health check goes its own way: the command line alone would cost it ten times what it does.
"""

import sys

from blog.cli.health import is_asked
from blog.cli.health import main as check


def main() -> int:
    """Run what the words say; return the exit code."""
    words = sys.argv[1:]
    if is_asked(words):
        return check(words[1:])
    from blog.cli.commands import main as run  # noqa: PLC0415 - heavy

    return run()


if __name__ == "__main__":
    sys.exit(main())
