"""`python -m blog NAME`; with no name it lists what can run.

A health check does not go through the command line, which alone takes ten times as long.
"""

import sys

from blog.cli.health import is_healthcheck
from blog.cli.health import main as check


def main() -> int:
    """Run the command line; return the exit code."""
    words = sys.argv[1:]
    if is_healthcheck(words):
        return check(words[1:])
    from blog.cli.commands import main as run  # noqa: PLC0415 - heavy

    return run()


if __name__ == "__main__":
    sys.exit(main())
