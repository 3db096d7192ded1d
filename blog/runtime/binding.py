"""Binding: how a handler's parameters are filled, worked out once from its signature.

Pure: it takes the parts of a request as plain data, and returns keyword arguments.
"""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any, get_type_hints

from pydantic import BaseModel, TypeAdapter, ValidationError

from blog.core.contract import Endpoint, Meta
from blog.core.errors import Invalid, NotFound
from blog.core.operator import OperatorCommand
from blog.core.settings import ServiceSettings
from blog.core.view import View


class ArgumentSource(Enum):
    """Where a parameter comes from."""

    PATH = auto()
    QUERY = auto()
    BODY = auto()
    VIEW = auto()
    META = auto()
    CHANGES = auto()
    PEERS = auto()
    SETTINGS = auto()


REASON = "reason"
"""The parameter of an operator command that gets the text of `--reason`."""

_BY_NAME = {"changes": ArgumentSource.CHANGES, "peers": ArgumentSource.PEERS}
_OF_OPERATORS = (
    ArgumentSource.PATH,
    ArgumentSource.QUERY,
    ArgumentSource.VIEW,
    ArgumentSource.META,
    ArgumentSource.SETTINGS,
)


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter of a handler. `adapter` reads text of the path or query string."""

    name: str
    source: ArgumentSource
    annotation: Any
    adapter: TypeAdapter[Any] | None = None
    default: Any = inspect.Parameter.empty


@dataclass(frozen=True, slots=True)
class Binding:
    """A handler and how to call it."""

    handler: Callable[..., Any]
    parameters: tuple[Parameter, ...]

    @property
    def body(self) -> type[BaseModel] | None:
        """The model of the body, if the handler has a parameter for one."""
        return next((p.annotation for p in self.parameters if p.source is ArgumentSource.BODY), None)

    def has(self, source: ArgumentSource) -> bool:
        """Return whether a parameter comes from `source`."""
        return any(parameter.source is source for parameter in self.parameters)

    def query_names(self) -> frozenset[str]:
        """Name the query parameters that the handler takes."""
        return frozenset(p.name for p in self.parameters if p.source is ArgumentSource.QUERY)

    def arguments(
        self, path: Mapping[str, str], query: Mapping[str, str], given: Mapping[ArgumentSource, Any]
    ) -> dict[str, Any]:
        """Fill the parameters; `given` has those that do not come from text.

        Raises NotFound for a path parameter that cannot be one, Invalid for a query parameter.
        """
        return {parameter.name: _argument(parameter, path, query, given) for parameter in self.parameters}


def bind(endpoint: Endpoint) -> Binding:
    """Work out the parameters of an endpoint's handler. Raises TypeError where it is ambiguous."""
    return bind_handler(endpoint.handler, endpoint.route.pattern)


def bind_operator(command: OperatorCommand) -> Binding:
    """Work out the parameters of an operator command: its subject is filled as a part of a path is.

    Raises TypeError for what an operator command cannot be given.
    """
    binding = bind_handler(command.handler, f"{{{command.subject}}}")
    for parameter in binding.parameters:
        if parameter.source not in _OF_OPERATORS or (
            parameter.source is ArgumentSource.QUERY and parameter.name != REASON
        ):
            raise TypeError(f"operator command {command.name} cannot be given {parameter.name}")
    return binding


def bind_handler(handler: Callable[..., Any], pattern: str) -> Binding:
    """Work out the parameters of `handler`; names in braces in `pattern` come from the path."""
    hints = get_type_hints(handler, include_extras=True)
    parameters = tuple(
        _parameter(name, hints.get(name), item.default, pattern)
        for name, item in inspect.signature(handler).parameters.items()
    )
    if sum(parameter.source is ArgumentSource.BODY for parameter in parameters) > 1:
        raise TypeError(f"{handler.__name__} takes two bodies")
    return Binding(handler, parameters)


def _parameter(name: str, annotation: Any, default: Any, pattern: str) -> Parameter:
    source = _source(name, annotation, pattern)
    text = source in (ArgumentSource.PATH, ArgumentSource.QUERY)
    adapter = TypeAdapter(annotation) if text else None
    return Parameter(name, source, annotation, adapter, default)


def _source(name: str, annotation: Any, pattern: str) -> ArgumentSource:
    by_class: tuple[tuple[type, ArgumentSource], ...] = (
        (View, ArgumentSource.VIEW),
        (Meta, ArgumentSource.META),
        (ServiceSettings, ArgumentSource.SETTINGS),
        (BaseModel, ArgumentSource.BODY),
    )
    if name in _BY_NAME:
        return _BY_NAME[name]
    if f"{{{name}}}" in pattern:
        return ArgumentSource.PATH
    if isinstance(annotation, type):
        for kind, source in by_class:
            if issubclass(annotation, kind):
                return source
    return ArgumentSource.QUERY


def _argument(
    parameter: Parameter,
    path: Mapping[str, str],
    query: Mapping[str, str],
    given: Mapping[ArgumentSource, Any],
) -> Any:
    match parameter.source:
        case ArgumentSource.PATH:
            return _from_path(parameter, path)
        case ArgumentSource.QUERY:
            return _from_query(parameter, query)
        case source:
            return given[source]


def _from_path(parameter: Parameter, path: Mapping[str, str]) -> Any:
    assert parameter.adapter is not None
    try:
        return parameter.adapter.validate_strings(path[parameter.name])
    except ValidationError:
        raise NotFound(f"There is nothing at this {parameter.name}.") from None


def _from_query(parameter: Parameter, query: Mapping[str, str]) -> Any:
    assert parameter.adapter is not None
    text = query.get(parameter.name)
    if text is None:
        if parameter.default is inspect.Parameter.empty:
            raise Invalid(f"{parameter.name}: is missing from the query string")
        return parameter.default
    try:
        return parameter.adapter.validate_strings(text)
    except ValidationError as error:
        raise Invalid(f"{parameter.name}: {error.errors()[0]['msg']}") from None
