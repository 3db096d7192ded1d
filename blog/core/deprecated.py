"""Deprecated names: what authors of services may still write until 1.0. It works, and it warns.

At 1.0 this module goes, and with it each line that uses it. The platform itself never uses an old name.
"""

import functools
import sys
import warnings
from collections.abc import Callable, Mapping
from inspect import signature
from types import MappingProxyType
from typing import Any, ParamSpec, TypeAlias, TypeVar

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")

Values: TypeAlias = Mapping[str, Mapping[str, str]]
"""Of a parameter: its old values, and what each of them is called now."""


def renamed_parameters(
    *, values: Values = MappingProxyType({}), **names: str
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Let a function take keyword arguments by their old names: `@renamed_parameters(hot="cache")`.

    `values` maps a parameter's old values to new ones. Type checkers see only the new names. The
    function raises TypeError when it gets one argument by both names.
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        who = function.__qualname__
        parameters = signature(function)

        @functools.wraps(function)
        def call(*args: P.args, **kwargs: P.kwargs) -> R:
            given: dict[str, Any] = kwargs
            for old, new in names.items():
                if old in given:
                    if new in given:
                        raise TypeError(f"{who}: give {new}, not {old} as well")
                    _warn(f"{who}: {old}", new)
                    given[new] = given.pop(old)
                    given[new] = _current(values, new, given[new])
            if values:
                bound = parameters.bind(*args, **kwargs)
                for name in values:
                    value = bound.arguments.get(name)
                    new_value = _current(values, name, value)
                    if new_value is not value:
                        _warn(f"{who}: {name}={value!r}", repr(new_value))
                        bound.arguments[name] = new_value
                return function(*bound.args, **bound.kwargs)
            return function(*args, **kwargs)

        return call

    return decorate


def _current(values: Values, name: str, value: Any) -> Any:
    """Return what a value of the parameter `name` is now; only text is ever renamed."""
    return values.get(name, {}).get(value, value) if isinstance(value, str) else value


def renamed_fields(
    *, values: Values = MappingProxyType({}), **names: str
) -> Callable[[type[T]], type[T]]:
    """Let a dataclass or NamedTuple be made with its fields' old names, and read by them."""

    def decorate(cls: type[T]) -> type[T]:
        methods = ("__new__", "_replace") if issubclass(cls, tuple) else ("__init__",)
        for method in methods:
            renamed = renamed_parameters(values=values, **names)(getattr(cls, method))
            setattr(cls, method, staticmethod(renamed) if method == "__new__" else renamed)
        for old, new in names.items():
            setattr(cls, old, RenamedAttribute(new, old))
        return cls

    return decorate


class RenamedAttribute:
    """The old name of an attribute or a method: `until = RenamedAttribute("wait_until")`."""

    def __init__(self, new: str, old: str = "") -> None:
        self._new = new
        self._old = old

    def __set_name__(self, owner: type, name: str) -> None:
        """Learn the old name from the class body."""
        self._old = name

    def __get__(self, instance: object, owner: type) -> Any:
        """Return what has the new name now."""
        if instance is None:
            return self
        _warn(f"{owner.__name__}.{self._old}", self._new)
        return getattr(instance, self._new)

    def __repr__(self) -> str:
        """Show both names."""
        return f"<RenamedAttribute {self._old}, now {self._new}>"


def renamed_names(module: str, **names: str) -> Callable[[str], Any]:
    """Return the `__getattr__` of a module (PEP 562) in which old names stand for new ones."""

    def find(name: str) -> Any:
        if name not in names:
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        _warn(f"{module}.{name}", names[name])
        return getattr(sys.modules[module], names[name])

    return find


def _warn(old: str, new: str) -> None:
    """Warn at the line that called the caller of this."""
    warnings.warn(
        f"{old} is now called {new}; the old name goes in 1.0", DeprecationWarning, stacklevel=3
    )
