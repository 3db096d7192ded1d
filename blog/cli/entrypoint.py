"""Entry point of the image: what is a command of ours is that; anything else is executed as it is."""

import os
import shutil
import sys
from collections.abc import Sequence

from blog.cli.commands import cli, main


def foreign(words: Sequence[str]) -> str | None:
    """Return the program to execute for `words` (`sh -c …`); None where they are for `blog`."""
    if not words or words[0].startswith("-"):
        return None
    if cli.get_command(cli.make_context("blog", [], resilient_parsing=True), words[0]) is not None:
        return None
    return shutil.which(words[0])


def start() -> int:
    """Become that program, or run our command; return its exit code."""
    program = foreign(sys.argv[1:])
    if program is not None:
        os.execv(program, sys.argv[1:])  # noqa: S606 - what the person asked for, without a shell between
    return main()
