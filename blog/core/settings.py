"""Settings: environment variables with the prefix `BLOG_`, read once where a process is composed.

A bad value is one clear line (`SettingsError`); an unknown `BLOG_…` variable is a warning.
"""

import difflib
import os
from collections.abc import Iterable, Iterator, Mapping
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, Self, TypeVar, cast

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    SecretStr,
    StringConstraints,
    ValidationError,
    model_validator,
)
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from blog.core.errors import SettingsError
from blog.core.instance import AddressStr
from blog.core.net.address import Address, bare
from blog.core.tokens import MAKE_ONE, parse_tokens, read_token_file

PREFIX = "BLOG_"
_TOKEN, _TOKEN_FILE = PREFIX + "TOKEN", PREFIX + "TOKEN_FILE"
_LEAST_RATE = 0.000001


def _host(text: str) -> str:
    host = bare(text)
    if not host:  # it would be every address, by accident
        raise ValueError("no host is given; 0.0.0.0 is every address")
    return Address.of(host, 0).host


def _network(text: str) -> str:
    """Check that `text` is a network or an address."""
    ip_network(text, strict=False)
    return text


def _token(token: SecretStr) -> SecretStr:
    """Check that it is one that counts, or several."""
    parse_tokens(token.get_secret_value())
    return token


def _rate(per_second: float) -> float:
    """Reject a rate that is practically never: a client cannot wait for that."""
    if 0 < per_second < _LEAST_RATE:
        raise ValueError(f"must be 0, or at least {_LEAST_RATE:f}")
    return per_second


Network = Annotated[str, AfterValidator(_network)]


def _split(value: object) -> object:
    """Read `a, b` as a list; other values are left to pydantic."""
    return (
        [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value
    )


Words = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split)]
"""A comma-separated list of words."""

Networks = Annotated[tuple[Network, ...], NoDecode, BeforeValidator(_split)]
"""A comma-separated list of networks, as CIDR or single addresses."""

RegistryUrl = Annotated[str, StringConstraints(pattern=r"^https?://[^\s/?#]+/?$")]
Port = Annotated[int, Field(ge=0, le=65535)]


class ServiceSettings(BaseSettings):
    """Base for the settings of one service; each field is `BLOG_<FIELD>` and has a description."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_ignore_empty=True, extra="ignore", frozen=True
    )


class Settings(ServiceSettings):
    """The settings of every process of ours."""

    registry: Annotated[
        tuple[RegistryUrl, ...], NoDecode, BeforeValidator(_split), Field(min_length=1)
    ] = Field(
        default=("http://127.0.0.1:4000",),
        description="URLs of the registries to announce at, comma-separated",
    )
    embed_registry: bool = Field(
        default=True, description="the gateway holds a registry of its own in its admin API"
    )
    host: Annotated[str, AfterValidator(_host)] = Field(
        default="127.0.0.1", description="the host to listen on"
    )
    port: Port = Field(default=0, description="the port of an instance; 0 = any free one")
    advertise: AddressStr | None = Field(
        default=None,
        description="host:port that others should dial; default: the local end of the"
        " connection to the registry, with the bound port",
    )
    public_port: Port = Field(default=8080, description="the public port of the gateway, for readers")
    admin_port: Port = Field(
        default=4000,
        description="port of the gateway's admin API (registry, metrics); never publish it",
    )
    name: Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_.-]{0,30}$")] = Field(
        default="blog", description="what containers, network and volume are called: blog-comments-2"
    )
    image: str = Field(
        default="blog", min_length=1, description="the image of containers (`blog up --runtime docker`)"
    )
    data_dir: Path = Field(default=Path("data"), description="the bus's log; views; run files")
    token: Annotated[SecretStr, AfterValidator(_token)] | None = Field(
        default=None,
        description="shared secret of admin API, bus and instances; `new,old`: both are accepted, the"
        " first is sent",
    )
    token_file: Path | None = Field(default=None, description="a file with BLOG_TOKEN, instead of it")
    log_format: Literal["auto", "console", "json"] = Field(
        default="auto", description="console on a terminal, else json"
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="the lowest level that is logged"
    )
    cors_origins: Words = Field(
        default=(), description="origins that may read responses across sites (CORS); * = any"
    )
    workers: int = Field(
        default=1, ge=1, le=64, description="processes that share the gateway's public port"
    )
    tls_cert: Path | None = Field(
        default=None, description="certificate chain (PEM) of the public port; needs BLOG_TLS_KEY"
    )
    tls_key: Path | None = Field(default=None, description="its private key (PEM)")
    retry: bool = Field(
        default=True,
        description="the gateway retries what is safe to retry; false to see the errors",
    )
    access_log: Literal["all", "errors"] = Field(
        default="all", description="a line per request at the gateway, or only for server errors"
    )
    max_connections: int = Field(
        default=10000, ge=1, description="connections that the gateway's public port has at once"
    )
    max_connections_per_address: int = Field(
        default=2000, ge=1, description="connections of one client address at the public port"
    )
    trusted_proxies: Networks = Field(
        default=(), description="networks (CIDR) whose X-Forwarded-For and -Proto are trusted"
    )
    write_rate: Annotated[float, AfterValidator(_rate)] = Field(
        default=10,
        ge=0,
        le=1_000_000,
        allow_inf_nan=False,
        description="writes per second and client address; 0 = no limit",
    )
    write_burst: int = Field(
        default=40, ge=1, le=1_000_000, description="writes of one client address at once"
    )
    served_by: bool = Field(default=True, description="responses carry Blog-Served-By")

    @model_validator(mode="after")
    def _tls_is_whole(self) -> Self:
        if (self.tls_cert is None) != (self.tls_key is None):
            raise ValueError("BLOG_TLS_CERT and BLOG_TLS_KEY belong together")
        return self

    @property
    def tokens(self) -> tuple[str, ...]:
        """The tokens that are accepted; the first is sent. None: protected mode."""
        return parse_tokens(self.token.get_secret_value()) if self.token is not None else ()

    @property
    def secret(self) -> str | None:
        """The token that is sent, None when there is none."""
        return self.tokens[0] if self.token is not None else None


S = TypeVar("S", bound=ServiceSettings)


def load(model: type[S], **overrides: Any) -> S:
    """Read the settings `model` from the environment; `overrides` win.

    A token file is read here and becomes the token. Raises SettingsError with one line that names the
    variable, what it holds and what is wrong.
    """
    if issubclass(model, Settings):
        _must_not_be_empty(os.environ)
    try:
        settings = model(**overrides)
    except ValidationError as error:
        first = error.errors()[0]
        if not first["loc"]:
            raise SettingsError(first["msg"].removeprefix("Value error, ")) from None
        name = PREFIX + str(first["loc"][0]).upper()
        shown = "***" if name.endswith("TOKEN") else repr(first["input"])
        raise SettingsError(f"{name}={shown}: {first['msg'].removeprefix('Value error, ')}") from None
    return cast("S", _with_token_of_file(settings)) if isinstance(settings, Settings) else settings


def _must_not_be_empty(environ: Mapping[str, str]) -> None:
    """Raise SettingsError where a token is set and empty: it is a mistake, and never "no token"."""
    for name in (_TOKEN, _TOKEN_FILE):
        if any(key.upper() == name and not value.strip() for key, value in environ.items()):
            raise SettingsError(f"{name} is empty: set it, or unset it; {MAKE_ONE}.")


def _with_token_of_file(settings: Settings) -> Settings:
    """Read the token file, if there is one."""
    if settings.token_file is None:
        return settings
    if settings.token is not None:
        raise SettingsError(f"{_TOKEN} and {_TOKEN_FILE} are both set: unset one.")
    text = read_token_file(settings.token_file, _TOKEN_FILE)
    return settings.model_copy(update={"token": SecretStr(text), "token_file": None})


def environ_of(settings: ServiceSettings, environ: Mapping[str, str]) -> dict[str, str]:
    """Return `environ`, with the variables that make another process have these settings.

    Secrets are included; a token of ours replaces whatever `environ` has of it.
    """
    values = ((name, getattr(settings, name)) for name in type(settings).model_fields)
    return without_token(environ) | {
        PREFIX + name.upper(): value.get_secret_value() if isinstance(value, SecretStr) else _shown(value)
        for name, value in values
        if value is not None
    }


def without_token(environ: Mapping[str, str]) -> dict[str, str]:
    """Return `environ` without a token or where it is."""
    return {name: value for name, value in environ.items() if name.upper() not in (_TOKEN, _TOKEN_FILE)}


class Setting(NamedTuple):
    """One line of `blog settings`."""

    name: str
    value: str
    default: str
    meaning: str


def describe(settings: ServiceSettings) -> Iterator[Setting]:
    """List every variable of `settings` with its value, default and meaning; secrets are masked."""
    for name, info in type(settings).model_fields.items():
        yield Setting(
            name=PREFIX + name.upper(),
            value=_shown(getattr(settings, name)),
            default=_shown(info.default),
            meaning=info.description or "",
        )


def unknown_variables(
    environ: Mapping[str, str], models: Iterable[type[ServiceSettings]], fields: Iterable[str] = ()
) -> Iterator[tuple[str, str | None]]:
    """Find `BLOG_…` variables that no model knows, each with the nearest known name, if any is near.

    `fields` are those of models that are not at hand.
    """
    names = (*(name for model in models for name in model.model_fields), *fields)
    known = {PREFIX + name.upper() for name in names}
    for name in sorted(environ):
        if name.startswith(PREFIX) and name not in known:
            yield name, next(iter(difflib.get_close_matches(name, known, n=1)), None)


def _shown(value: object) -> str:
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    return "" if value is None else str(value)
