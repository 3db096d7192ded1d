"""Entry point of the image: our commands are run, any other program is executed as it is."""

import os
import shutil
import sys
from collections.abc import Sequence

from blog.cli.health import is_healthcheck
from blog.cli.health import main as check


def foreign(words: Sequence[str]) -> str | None:
    """Return the path of the program to execute for `words` (`sh -c …`); None if they are for `blog`."""
    from blog.cli.commands import cli  # noqa: PLC0415 - heavy

    if not words or words[0].startswith("-"):
        return None
    if cli.get_command(cli.make_context("blog", [], resilient_parsing=True), words[0]) is not None:
        return None
    return shutil.which(words[0])


def start() -> int:
    """Replace this process by that program, or run our command and return its exit code."""
    if is_healthcheck(sys.argv[1:]):
        return check(sys.argv[2:])
    program = foreign(sys.argv[1:])
    if program is not None:
        os.execv(program, sys.argv[1:])  # noqa: S606 - what the person asked for, without a shell between
    from blog.cli.commands import main  # noqa: PLC0415 - heavy

    return main()
