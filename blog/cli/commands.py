"""The command line: what people type. Heavy rooms are imported by the command that needs them."""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from blog.cli.service import ServiceGroup

if TYPE_CHECKING:
    from blog.master.recovery import Lasting

_RUNTIME = click.Choice(["process", "docker"])
_RUNTIME_HELP = "What copies are: processes of this machine, or containers of BLOG_IMAGE."
_SCALE_HELP = "How many copies, for instance comments=3; may be given several times."

_SECONDS = click.FloatRange(0, 3600, min_open=True)


class CommandGroup(click.Group):
    """Our commands, and one more for everything that can run (`blog posts`)."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """List the commands that are written out; what can run is listed below them."""
        return super().list_commands(ctx)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Find a command, or make the one that runs `cmd_name`."""
        found = super().get_command(ctx, cmd_name)
        if found is not None:
            return found
        from blog.master.programs import names  # noqa: PLC0415 - heavy

        return _runner(cmd_name) if cmd_name in names() else None

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List what can run."""
        del ctx
        from blog.master.programs import names  # noqa: PLC0415 - heavy

        with formatter.section("One instance of a service"):
            for name in names():
                formatter.write_text(f"blog {name}")


@click.group(cls=CommandGroup, context_settings={"help_option_names": ["-h", "--help"]})
def cli() -> None:
    """Run a blog made of services that anyone can copy, kill and restart at any time."""


@cli.command()
@click.option("-d", "--detach", is_flag=True, help="Return once it is ready; it goes on running.")
@click.option("--scale", "scales", multiple=True, metavar="NAME=N", help=_SCALE_HELP)
@click.option("--runtime", type=_RUNTIME, default="process", show_default=True, help=_RUNTIME_HELP)
@click.option("--in-process", is_flag=True, help="Everything in one process and event loop.")
def up(*, detach: bool, scales: tuple[str, ...], runtime: "Lasting", in_process: bool) -> None:
    """Start the whole blog on this machine; Ctrl-C drains and stops it.

    Copies that a killed `blog up` left running are taken over.
    """
    from blog.cli.up import start  # noqa: PLC0415 - heavy

    sys.exit(start(scales, detach=detach, kind="in-process" if in_process else runtime))


@cli.command()
@click.option("--runtime", type=_RUNTIME, help="What it runs in, if its data directory is gone.")
def down(*, runtime: "Lasting | None") -> None:
    """Drain and stop the running blog; or the copies that a killed `blog up` left running."""
    from blog.cli.down import stop  # noqa: PLC0415 - heavy

    stop(runtime)


@cli.command()
@click.option("--json", "as_json", is_flag=True, help="Rows for scripts.")
@click.option("-w", "--watch", is_flag=True, help="Keep it up to date until Ctrl-C.")
def ps(*, as_json: bool, watch: bool) -> None:
    """Show who is running, how many of each there should be, and why."""
    from blog.cli.ps import show  # noqa: PLC0415 - heavy

    show(as_json=as_json, watch=watch)


@cli.command()
@click.argument("wanted", nargs=-1, required=True, metavar="NAME=N...")
@click.option(
    "--wait", is_flag=True, help="Return once they are ready; exit code 1 if they do not get so."
)
@click.option("--timeout", default=60.0, show_default=True, type=_SECONDS, help="Seconds to wait.")
def scale(wanted: tuple[str, ...], *, wait: bool, timeout: float) -> None:
    """Run another number of copies, for instance: blog scale comments=3.

    That holds, whatever schedule and load say, until: blog scale comments=auto.
    """
    from blog.cli.scaling import scale as change  # noqa: PLC0415 - heavy

    sys.exit(change(wanted, wait=wait, timeout=timeout))


@cli.command()
@click.option("--json", "as_json", is_flag=True, help="Rows for scripts.")
@click.option("-n", "count", default=3, show_default=True, type=click.IntRange(1, 100), help="Of each.")
def schedule(*, as_json: bool, count: int) -> None:
    """Show which schedules of blog.toml come into force next."""
    from blog.cli.scaling import show_schedule  # noqa: PLC0415 - heavy

    show_schedule(count, as_json=as_json)


@cli.command()
@click.argument("service")
@click.option(
    "--timeout", default=60.0, show_default=True, type=_SECONDS, help="Seconds for each to get ready."
)
def rollout(service: str, *, timeout: float) -> None:
    """Replace the copies of SERVICE one by one; stop, with exit code 1, when a new one gets not ready."""
    from blog.cli.scaling import roll_out  # noqa: PLC0415 - heavy

    sys.exit(roll_out(service, timeout))


@cli.command()
@click.option("-f", "--follow", is_flag=True, help="Go on as lines are added.")
@click.argument("services", nargs=-1)
def logs(*, follow: bool, services: tuple[str, ...]) -> None:
    """Show what the copies log; of SERVICES only, if any are named."""
    from blog.cli.control import show_logs  # noqa: PLC0415 - heavy

    show_logs(services, follow=follow)


@cli.command()
def settings() -> None:
    """List every setting with its value, default and meaning."""
    from blog.cli.settings import show  # noqa: PLC0415 - heavy

    show()


@cli.command()
@click.option("--ready", is_flag=True, help="Ask whether they take traffic, not only whether they live.")
@click.option(
    "--startup",
    is_flag=True,
    help="Ask for readiness until it was ready once, then only whether it lives.",
)
def healthcheck(*, ready: bool, startup: bool) -> None:
    """Ask the instances that run here whether they are well; exit code 0 or 1.

    `blog-healthcheck` is the same as a program of its own.
    """
    from blog.cli.health import check  # noqa: PLC0415 - for help and mistakes: see blog/__main__.py

    sys.exit(check(ready=ready, startup=startup))


@cli.command()
@click.option("-f", "--follow", is_flag=True, help="Go on as events are appended.")
@click.option("--after", default=0, show_default=True, type=click.IntRange(0), help="Begin behind it.")
@click.option("--type", "types", multiple=True, help="Of this type only; may be given several times.")
@click.option("--key", help="Of this key only, for instance a post's id.")
def events(*, follow: bool, after: int, types: tuple[str, ...], key: str | None) -> None:
    """Show the events of the log, a line of JSON each."""
    from blog.cli.bus import show_events  # noqa: PLC0415 - heavy

    show_events(after, types, key, follow=follow)


@cli.group("dead-letters")
def dead_letters() -> None:
    """Decide about events that never worked, and what of their key waits behind them."""


@dead_letters.command("list")
@click.option("--json", "as_json", is_flag=True, help="Rows for scripts.")
def list_letters(*, as_json: bool) -> None:
    """List them, oldest first."""
    from blog.cli.bus import show_letters  # noqa: PLC0415 - heavy

    show_letters(as_json=as_json)


@dead_letters.command("show")
@click.argument("letter", metavar="ID")
def show_one(letter: str) -> None:
    """Show one whole: the event, and why it never worked."""
    from blog.cli.bus import show_letter  # noqa: PLC0415 - heavy

    show_letter(letter)


@dead_letters.command()
@click.argument("letters", nargs=-1, required=True, metavar="ID...")
def redrive(letters: tuple[str, ...]) -> None:
    """Try them again, and then what waits behind them."""
    from blog.cli.bus import revive  # noqa: PLC0415 - heavy

    revive(letters, "redrive")


@dead_letters.command()
@click.argument("letters", nargs=-1, required=True, metavar="ID...")
def discard(letters: tuple[str, ...]) -> None:
    """Leave them, and go on with what waits behind them."""
    from blog.cli.bus import revive  # noqa: PLC0415 - heavy

    revive(letters, "discard")


@cli.group("log")
def log_group() -> None:
    """Verify, back up or restore the log's file in BLOG_DATA_DIR."""


@log_group.command("verify")
@click.argument("file", required=False, type=click.Path(path_type=Path))
def verify_log(file: Path | None) -> None:
    """Read every row of the log (or FILE): gaps, hashes, envelopes. Exit code 1 if it is broken."""
    from blog.cli.log import verify  # noqa: PLC0415 - heavy

    sys.exit(verify(file))


@log_group.command("backup")
@click.argument("file", type=click.Path(path_type=Path))
def back_up_log(file: Path) -> None:
    """Copy the log to FILE, while it is written to, and verify the copy."""
    from blog.cli.log import back_up  # noqa: PLC0415 - heavy

    sys.exit(back_up(file))


@log_group.command("restore")
@click.argument("file", type=click.Path(path_type=Path))
def restore_log(file: Path) -> None:
    """Make the log what FILE holds. The bus must not run; the old log is kept beside it."""
    from blog.cli.log import restore  # noqa: PLC0415 - heavy

    restore(file)


def main() -> int:
    """Run the command line; return the exit code: 0, 1 for a crash, 2 for what was asked wrongly."""
    from blog.core.errors import SettingsError  # noqa: PLC0415 - after click has the words

    try:
        cli.main(standalone_mode=False, prog_name="blog")
    except click.exceptions.NoArgsIsHelpError as shown:
        click.echo(shown.format_message())
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except SettingsError as error:
        click.echo(f"blog: {error.detail}", err=True)
        return 2
    except BrokenPipeError:  # `blog events | head`: whoever reads has enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except OSError as error:
        from blog.cli.os_errors import said_of  # noqa: PLC0415 - heavy

        said = said_of(error)
        if said is None:
            raise
        click.echo(f"blog: {said}", err=True)
        return 2
    except (click.Abort, KeyboardInterrupt):
        return 130
    return 0


def _runner(name: str) -> click.Command:
    """Make the command that runs one instance of `name`; of a service, with its operator commands."""
    from blog.master.programs import SINGLE  # noqa: PLC0415 - heavy

    def run(*, copy_lock: int | None, adopt: bool = False, workers: int | None = None) -> None:
        from blog.cli.process import run_instance  # noqa: PLC0415 - heavy

        if click.get_current_context().invoked_subcommand is not None:
            return
        overrides = {} if workers is None else {"workers": workers}
        run_instance(name, lock=copy_lock, adopt=adopt, **overrides)

    options: list[click.Parameter] = [click.Option(["--copy-lock"], type=int, hidden=True)]
    if name == "bus":
        adopt = "Take this log as the one that counts from now on."
        options.append(click.Option(["--adopt"], is_flag=True, help=adopt))
    if name == "gateway":
        share = "Processes that share the public port (BLOG_WORKERS)."
        options.append(click.Option(["--workers"], type=click.IntRange(1, 64), help=share))
    if name in SINGLE:
        return click.Command(name, callback=run, params=options, help=f"Run one instance of {name}.")
    return ServiceGroup(name, callback=run, params=options, help=f"Run one instance of {name}.")
