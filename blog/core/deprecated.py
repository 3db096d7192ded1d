"""Deprecated names: what authors of services may still write until 1.0. It works, and it warns.

At 1.0 this module goes, and with it each line that uses it. The platform itself never uses an old name.
"""

import functools
import sys
import warnings
from collections.abc import Callable, Mapping
from inspect import signature
from types import MappingProxyType
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")


def renamed_parameters(
    *, values: Mapping[str, Mapping[Any, Any]] = MappingProxyType({}), **names: str
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Let a function take keyword arguments by their old names: `@renamed_parameters(hot="cache")`.

    `values` maps a parameter's old values to new ones. Type checkers see only the new names. The
    function raises TypeError when it gets one argument by both names.
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        who = function.__qualname__
        places = {name: list(signature(function).parameters).index(name) for name in values}

        @functools.wraps(function)
        def call(*args: P.args, **kwargs: P.kwargs) -> R:
            given: dict[str, Any] = kwargs
            for old, new in names.items():
                if old in given:
                    if new in given:
                        raise TypeError(f"{who}: give {new}, not {old} as well")
                    value = given.pop(old)
                    given[new] = values.get(new, {}).get(value, value)
                    _warn(f"{who}: {old}={value!r}", f"{new}={given[new]!r}")
            positional: list[Any] = list(args)
            for name, renamed in values.items():
                holder, key = (given, name) if name in given else (positional, places[name])
                if name in given or len(positional) > places[name]:
                    value = holder[key]  # type: ignore[index]
                    if value in renamed:
                        _warn(f"{who}: {name}={value!r}", repr(renamed[value]))
                        holder[key] = renamed[value]  # type: ignore[index]
            return function(*positional, **kwargs)

        return call

    return decorate


def renamed_fields(
    *, values: Mapping[str, Mapping[Any, Any]] = MappingProxyType({}), **names: str
) -> Callable[[type[T]], type[T]]:
    """Let a dataclass or NamedTuple be made with its fields' old names, and read by them."""

    def decorate(cls: type[T]) -> type[T]:
        constructor = "__new__" if issubclass(cls, tuple) else "__init__"
        make = renamed_parameters(values=values, **names)(getattr(cls, constructor))
        setattr(cls, constructor, staticmethod(make) if constructor == "__new__" else make)
        if constructor == "__new__":
            cls._replace = renamed_parameters(**names)(cls._replace)  # type: ignore[attr-defined, arg-type]
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
