"""The groups `blog log` and `blog dead-letters`: what an operator does with the log and its deliveries.

Heavy packages are imported by the command that needs them.
"""

import sys
from pathlib import Path

import click


@click.group("dead-letters")
def dead_letters() -> None:
    """List, redrive or discard dead letters: events that could not be delivered.

    Later events of the same key wait until it is decided.
    """


@dead_letters.command("list")
@click.option("--json", "as_json", is_flag=True, help="Rows for scripts.")
def list_letters(*, as_json: bool) -> None:
    """List them, oldest first."""
    from blog.cli.bus import show_letters  # noqa: PLC0415 - heavy

    show_letters(as_json=as_json)


@dead_letters.command("show")
@click.argument("letter", metavar="ID")
def show_one(letter: str) -> None:
    """Show one: the event, and why it could not be delivered."""
    from blog.cli.bus import show_letter  # noqa: PLC0415 - heavy

    show_letter(letter)


@dead_letters.command()
@click.argument("letters", nargs=-1, required=True, metavar="ID...")
def redrive(letters: tuple[str, ...]) -> None:
    """Deliver them again, and then the events that wait after them."""
    from blog.cli.bus import redrive as deliver  # noqa: PLC0415 - heavy

    deliver(letters)


@dead_letters.command()
@click.argument("letters", nargs=-1, required=True, metavar="ID...")
def discard(letters: tuple[str, ...]) -> None:
    """Discard them, and go on with the events that wait after them."""
    from blog.cli.bus import discard as drop  # noqa: PLC0415 - heavy

    drop(letters)


@click.group("log")
def log() -> None:
    """Verify, back up or restore the log's file in BLOG_DATA_DIR, or make another log the blog's."""


@log.command("verify")
@click.argument("file", required=False, type=click.Path(path_type=Path))
def verify_log(file: Path | None) -> None:
    """Read every row of the log (or FILE): gaps, hashes, envelopes. Exit code 1 if it is broken."""
    from blog.cli.log import verify  # noqa: PLC0415 - heavy

    sys.exit(verify(file))


@log.command("backup")
@click.argument("file", type=click.Path(path_type=Path))
def back_up_log(file: Path) -> None:
    """Copy the log to FILE, also while the bus writes to it, and verify the copy."""
    from blog.cli.log import back_up  # noqa: PLC0415 - heavy

    sys.exit(back_up(file))


@log.command("restore")
@click.argument("file", type=click.Path(path_type=Path))
def restore_log(file: Path) -> None:
    """Make the log what FILE holds. The bus must not run; the old log is kept beside it."""
    from blog.cli.log import restore  # noqa: PLC0415 - heavy

    restore(file)


@log.command("adopt")
@click.argument("identity", metavar="IDENTITY")
def adopt_log(identity: str) -> None:
    """Make the log IDENTITY the blog's; without a token, run it where the registry (the gateway) runs."""
    from blog.cli.log import adopt  # noqa: PLC0415 - heavy

    sys.exit(adopt(identity))
