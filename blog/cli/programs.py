"""Commands that run one instance of a program: `blog gateway`, `blog posts`."""

import click

from blog.cli.service import ServiceGroup
from blog.core.output import say


def program_command(name: str) -> click.Command:
    """Make the command that runs one instance of `name`; of a service, with its operator commands."""
    from blog.master.programs import SINGLETONS  # noqa: PLC0415 - heavy

    def run(
        *,
        replica_lock: int | None,
        copy_lock: int | None,
        adopt: bool = False,
        workers: int | None = None,
    ) -> None:
        from blog.cli.process import run_instance  # noqa: PLC0415 - heavy

        if click.get_current_context().invoked_subcommand is not None:
            return
        if copy_lock is not None:
            say("blog: --copy-lock is now called --replica-lock.", err=True)
            replica_lock = copy_lock
        overrides = {} if workers is None else {"workers": workers}
        run_instance(name, lock=replica_lock, adopt=adopt, **overrides)

    options: list[click.Parameter] = [
        click.Option(["--replica-lock"], type=int, hidden=True),
        # the old name: a master that was started before an upgrade still uses it
        click.Option(["--copy-lock"], type=int, hidden=True),
    ]
    if name == "bus":
        adopt = "Make this log the one that registries accept from now on."
        options.append(click.Option(["--adopt"], is_flag=True, help=adopt))
    if name == "gateway":
        share = "Processes that share the public port (BLOG_WORKERS)."
        options.append(click.Option(["--workers"], type=click.IntRange(1, 64), help=share))
    if name in SINGLETONS:
        return click.Command(name, callback=run, params=options, help=f"Run one instance of {name}.")
    return ServiceGroup(name, callback=run, params=options, help=f"Run one instance of {name}.")
