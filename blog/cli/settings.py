"""Settings for people: read with warnings, and listed."""

import os
from collections.abc import Mapping
from functools import partial

from blog.cli.isolated import run_isolated
from blog.cli.rows import RowTable, wide_console
from blog.core import logs
from blog.core.errors import SettingsError
from blog.core.output import say
from blog.core.settings import Setting, Settings, describe, load, unknown_variables
from blog.runtime import catalog
from blog.runtime.declared import setting_names


def load_and_warn(overrides: Mapping[str, object] | None = None, **bound: str) -> Settings:
    """Read the settings, set up logging (`bound` is on every line), warn about unknown variables.

    `overrides` take precedence over the environment. Raises SettingsError for a bad value.
    """
    settings = load(Settings, **(overrides or {}))
    logs.configure(settings.log_level, settings.log_format, **bound)
    for name, nearest in unknown_variables(os.environ, [Settings], setting_names()):
        logs.get_logger().warning("setting.unknown", name=name, nearest=nearest)
    return settings


def show() -> None:
    """Print every setting; for a broken service, why. Raises SettingsError for an invalid value."""
    table = RowTable("variable", "value", "default", "meaning")
    for line in describe(load(Settings)):
        table.add(*line)
    problems: list[tuple[str, str]] = []
    for name in catalog.names():
        outcome = run_isolated(partial(_of_service, name))
        if outcome.failure:
            problems.append((name, outcome.failure))
            continue
        if outcome.value["wrong"]:
            raise SettingsError(outcome.value["wrong"])
        problems += [(name, why) for why in outcome.value["broken"]]
        for row in outcome.value["settings"]:
            table.add(*row)
    wide_console().print(table)
    for name, why in problems:
        say(f"blog: settings of {name} are not listed: {why}", err=True)


def _of_service(name: str) -> dict[str, object]:
    """Describe the settings of one service, or why it is `broken`, or which value is `wrong`."""
    rows: list[Setting] = []
    try:
        model = catalog.load(name).settings
    except SettingsError as error:
        return {"settings": rows, "broken": [error.detail], "wrong": ""}
    try:
        rows += describe(load(model)) if model else ()
    except SettingsError as error:
        return {"settings": rows, "broken": [], "wrong": error.detail}
    except Exception as error:  # noqa: BLE001 - any error of a service's model is that service's
        return {"settings": rows, "broken": [catalog.broken(name, error).detail], "wrong": ""}
    return {"settings": rows, "broken": [], "wrong": ""}
