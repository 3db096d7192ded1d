"""The command line. Heavy packages are imported by the command that needs them."""

import io
import os
import sys
from typing import TYPE_CHECKING

import click

from blog.cli.log_commands import dead_letters, log
from blog.cli.programs import program_command
from blog.core.output import say, say_lines, write_escaped_tracebacks

if TYPE_CHECKING:
    from blog.master.recovery import PersistentKind

_RUNTIME = click.Choice(["process", "docker"])
_RUNTIME_HELP = "What replicas are: processes of this machine, or containers of BLOG_IMAGE."
_SCALE_HELP = "Number of replicas, for example comments=3; may be repeated."

_SECONDS = click.FloatRange(0, 3600, min_open=True)


class CommandGroup(click.Group):
    """The commands, and one for each program that can run (`blog posts`)."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """List the commands of this file; programs are listed below them."""
        return super().list_commands(ctx)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Find a command, or make the one that runs `cmd_name`."""
        found = super().get_command(ctx, cmd_name)
        if found is not None:
            return found
        from blog.master.programs import names  # noqa: PLC0415 - heavy

        return program_command(cmd_name) if cmd_name in names() else None

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the programs that can run."""
        del ctx
        from blog.master.programs import names  # noqa: PLC0415 - heavy

        with formatter.section("One instance of a service"):
            for name in names():
                formatter.write_text(f"blog {name}")


@click.group(cls=CommandGroup, context_settings={"help_option_names": ["-h", "--help"]})
def cli() -> None:
    """Run a blog made of services whose replicas can be added, killed and restarted at any time."""


@cli.command()
@click.option("-d", "--detach", is_flag=True, help="Run in the background; return once it is ready.")
@click.option("--scale", "scales", multiple=True, metavar="NAME=N", help=_SCALE_HELP)
@click.option("--runtime", type=_RUNTIME, default="process", show_default=True, help=_RUNTIME_HELP)
@click.option("--in-process", is_flag=True, help="Run everything in one process and event loop.")
def up(*, detach: bool, scales: tuple[str, ...], runtime: "PersistentKind", in_process: bool) -> None:
    """Start the whole blog on this machine; Ctrl-C drains and stops it.

    Replicas that a killed `blog up` left running are adopted.
    """
    from blog.cli.up import start  # noqa: PLC0415 - heavy

    sys.exit(start(scales, detach=detach, kind="in-process" if in_process else runtime))


@cli.command()
@click.option("--runtime", type=_RUNTIME, help="Where it runs, if its data directory is gone.")
def down(*, runtime: "PersistentKind | None") -> None:
    """Drain and stop the running blog, or the replicas that a killed `blog up` left running."""
    from blog.cli.down import stop  # noqa: PLC0415 - heavy

    stop(runtime)


@cli.command()
@click.option("--json", "as_json", is_flag=True, help="Rows for scripts.")
@click.option("-w", "--watch", is_flag=True, help="Keep it up to date until Ctrl-C.")
def ps(*, as_json: bool, watch: bool) -> None:
    """Show what is running, and how many replicas of each service are desired, and why."""
    from blog.cli.ps import show  # noqa: PLC0415 - heavy

    show(as_json=as_json, watch=watch)


@cli.command()
@click.argument("counts", nargs=-1, required=True, metavar="NAME=N...")
@click.option(
    "--wait", is_flag=True, help="Return once they are ready; exit code 1 if they do not become ready."
)
@click.option("--timeout", default=60.0, show_default=True, type=_SECONDS, help="Seconds to wait.")
def scale(counts: tuple[str, ...], *, wait: bool, timeout: float) -> None:
    """Set the number of replicas, for example: blog scale comments=3.

    It overrides schedule and load until: blog scale comments=auto.
    """
    from blog.cli.scaling import scale as change  # noqa: PLC0415 - heavy

    sys.exit(change(counts, wait=wait, timeout=timeout))


@cli.command()
@click.option("--json", "as_json", is_flag=True, help="Rows for scripts.")
@click.option(
    "-n", "count", default=3, show_default=True, type=click.IntRange(1, 100), help="Changes per service."
)
def schedule(*, as_json: bool, count: int) -> None:
    """Show the next changes that the schedules of blog.toml will make."""
    from blog.cli.scaling import show_schedule  # noqa: PLC0415 - heavy

    show_schedule(count, as_json=as_json)


@cli.command()
@click.argument("service")
@click.option(
    "--timeout",
    default=60.0,
    show_default=True,
    type=_SECONDS,
    help="Seconds that each has to become ready.",
)
def rollout(service: str, *, timeout: float) -> None:
    """Replace the replicas of SERVICE one by one.

    Stop with exit code 1 if a new replica does not become ready.
    """
    from blog.cli.scaling import roll_out  # noqa: PLC0415 - heavy

    sys.exit(roll_out(service, timeout))


@cli.command()
@click.option("-f", "--follow", is_flag=True, help="Keep showing new lines.")
@click.argument("services", nargs=-1)
def logs(*, follow: bool, services: tuple[str, ...]) -> None:
    """Show the logs of the replicas, or only of those of SERVICES."""
    from blog.cli.control import show_logs  # noqa: PLC0415 - heavy

    show_logs(services, follow=follow)


@cli.command()
def settings() -> None:
    """List every setting with its value, default and meaning."""
    from blog.cli.settings import show  # noqa: PLC0415 - heavy

    show()


@cli.command()
@click.option("--ready", is_flag=True, help="Check readiness instead of liveness.")
@click.option(
    "--startup",
    is_flag=True,
    help="Check readiness until an instance was ready once, then liveness.",
)
def healthcheck(*, ready: bool, startup: bool) -> None:
    """Check whether the instances that run here are healthy; exit code 0 or 1.

    The program `blog-healthcheck` does the same.
    """
    from blog.cli.health import check  # noqa: PLC0415 - for help and errors: see blog/__main__.py

    sys.exit(check(ready=ready, startup=startup))


@cli.command()
@click.option("-f", "--follow", is_flag=True, help="Keep showing new events.")
@click.option(
    "--after",
    default=0,
    show_default=True,
    type=click.IntRange(0),
    help="Begin after this sequence number.",
)
@click.option("--type", "types", multiple=True, help="Only of this type; may be repeated.")
@click.option("--key", help="Only of this key, for example a post's id.")
def events(*, follow: bool, after: int, types: tuple[str, ...], key: str | None) -> None:
    """Show the events of the log, one line of JSON each."""
    from blog.cli.bus import show_events  # noqa: PLC0415 - heavy

    show_events(after, types, key, follow=follow)


cli.add_command(dead_letters)
cli.add_command(log)


def main() -> int:
    """Run the command line; return the exit code: 0, 1 for a crash, 2 for a wrong request."""
    from blog.core.errors import SettingsError  # noqa: PLC0415 - after click has the words

    write_escaped_tracebacks()
    try:
        cli.main(standalone_mode=False, prog_name="blog")
    except click.exceptions.NoArgsIsHelpError as shown:
        say_lines(shown.format_message())
    except click.ClickException as error:
        words = io.StringIO()
        error.show(words)
        say_lines(words.getvalue().rstrip(), err=True)
        return error.exit_code
    except SettingsError as error:
        say(f"blog: {error.detail}", err=True)
        return 2
    except BrokenPipeError:  # `blog events | head`: the reader has enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except OSError as error:
        from blog.cli.os_errors import message_of  # noqa: PLC0415 - heavy

        message = message_of(error)
        if message is None:
            raise
        say(f"blog: {message}", err=True)
        return 2
    except (click.Abort, KeyboardInterrupt):
        return 130
    return 0
