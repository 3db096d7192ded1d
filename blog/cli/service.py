"""`blog posts` runs an instance of the service; with a command after it, an operator command.

The service is imported only for its operator commands, or to list them.
"""

import sys
from typing import Any

import click


class ServiceGroup(click.Group):
    """Runs a service, and has the operator commands that the service declares."""

    def __init__(self, name: str, **options: Any) -> None:
        super().__init__(name, invoke_without_command=True, subcommand_metavar="[COMMAND ...]", **options)
        self._service = name

    def format_help_text(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the help, and what the operator commands are for, if there are any."""
        super().format_help_text(ctx, formatter)
        if self._operators():
            formatter.write_paragraph()
            with formatter.indentation():
                formatter.write_text("With a command, delete or moderate its content.")

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
        click.Option(["--reason"], callback=_reason, help="Why; it is kept in the log."),
        click.Option(["-y", "--yes"], is_flag=True, help="Do not ask for confirmation."),
    ]
    return click.Command(name, callback=run, params=parameters, help=summary)


def _reason(ctx: click.Context, option: click.Parameter, text: str | None) -> str | None:
    """Validate `--reason` as the service would; return None if it is empty."""
    from pydantic import TypeAdapter, ValidationError  # noqa: PLC0415 - heavy

    from blog.core.operator import Reason  # noqa: PLC0415 - heavy

    try:
        return TypeAdapter[str | None](Reason).validate_python(text) or None
    except ValidationError as error:
        message = error.errors()[0]["msg"].removeprefix("Value error, ")
        raise click.BadParameter(message, ctx, option) from None
