"""`blog posts`: alone it runs an instance of the service; with a word after it, an operator command.

The service is imported only for its operator commands, or to list them.
"""

import sys
from typing import Any

import click


class ServiceGroup(click.Group):
    """What runs a service, and its operator commands, found in what it declares."""

    def __init__(self, name: str, **options: Any) -> None:
        super().__init__(name, invoke_without_command=True, subcommand_metavar="[COMMAND ...]", **options)
        self._service = name

    def format_help_text(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Say what it is run with, and what its commands are for, if it has any."""
        super().format_help_text(ctx, formatter)
        if self._operators():
            formatter.write_paragraph()
            with formatter.indentation():
                formatter.write_text("With a command, delete or moderate what it holds.")

    def list_commands(self, ctx: click.Context) -> list[str]:
        """List the operator commands in the order in which they are declared."""
        del ctx
        return list(self._operators())

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Find an operator command."""
        del ctx
        found = self._operators().get(cmd_name)
        return None if found is None else _operator_command(self._service, cmd_name, found.summary)

    def _operators(self) -> dict[str, Any]:
        from blog.runtime import catalog  # noqa: PLC0415 - heavy

        return catalog.load(self._service).operators


def _operator_command(service: str, name: str, summary: str) -> click.Command:
    def run(*, ids: tuple[str, ...], reason: str | None, yes: bool) -> None:
        from blog.cli.operator import carry_out  # noqa: PLC0415 - heavy

        sys.exit(carry_out(service, name, ids, reason, yes=yes))

    parameters: list[click.Parameter] = [
        click.Argument(["ids"], nargs=-1, required=True, metavar="ID..."),
        click.Option(["--reason"], callback=_reason, help="Why: kept in the log with what is done."),
        click.Option(["-y", "--yes"], is_flag=True, help="Do not ask first."),
    ]
    return click.Command(name, callback=run, params=parameters, help=summary)


def _reason(ctx: click.Context, option: click.Parameter, text: str | None) -> str | None:
    """Take what `--reason` says as the service would; nothing, where it says nothing."""
    from pydantic import TypeAdapter, ValidationError  # noqa: PLC0415 - heavy

    from blog.core.operator import Reason  # noqa: PLC0415 - heavy

    try:
        return TypeAdapter[str | None](Reason).validate_python(text) or None
    except ValidationError as error:
        said = error.errors()[0]["msg"].removeprefix("Value error, ")
        raise click.BadParameter(said, ctx, option) from None
