"""Settings as people see them: read, warned about, listed."""

import os
from collections.abc import Mapping

from rich.table import Table

from blog.cli.rows import wide_console
from blog.core import logs
from blog.core.settings import ServiceSettings, Settings, describe, load, unknown_variables
from blog.runtime import catalog


def load_and_warn(overrides: Mapping[str, object] | None = None, **bound: str) -> Settings:
    """Read the settings, set up logging (`bound` is on every line), warn about unknown variables.

    `overrides` win over the environment. Raises SettingsError for a bad value.
    """
    settings = load(Settings, **(overrides or {}))
    logs.configure(settings.log_level, settings.log_format, **bound)
    for name, nearest in unknown_variables(os.environ, _models()):
        logs.get_logger().warning("setting.unknown", name=name, nearest=nearest)
    return settings


def show() -> None:
    """Print every setting. Raises SettingsError for a bad value."""
    table = Table("variable", "value", "default", "meaning", box=None, header_style="bold")
    for model in _models():
        for line in describe(load(model)):
            table.add_row(*line)
    wide_console().print(table)


def _models() -> list[type[ServiceSettings]]:
    """Return the platform's settings and those of every service."""
    services = (catalog.load(name).settings for name in catalog.names())
    return [Settings, *(model for model in services if model is not None)]
