"""The gateway: a public door for readers, an inner door with the registry in it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractContextManager, AsyncExitStack, asynccontextmanager
from pathlib import Path

from aiohttp import web

from blog.core.settings import Settings
from blog.core.web import problems, requires_token
from blog.gateway.proxy import Proxy
from blog.gateway.public import Door
from blog.gateway.upstream import Upstream
from blog.http.limits import server_options
from blog.lifecycle.lifecycle import Lifecycle
from blog.lifecycle.member import Member, listen
from blog.registry.discovery import Discovery
from blog.registry.service import Registry

SERVICE = "gateway"
_CLOSE_TIMEOUT = 0.05


async def run(settings: Settings, lifecycle: Lifecycle) -> None:
    """Run the gateway until it is asked to stop and has drained.

    Raises SettingsError when one of its ports is taken.
    """
    async with AsyncExitStack() as stack:
        door = Door(settings)
        public = await stack.enter_async_context(_public_door(door.app(), settings))
        registry = await stack.enter_async_context(embedded(settings, lifecycle))
        member = await stack.enter_async_context(
            Member.join(
                lifecycle,
                settings,
                _inner_app(settings, registry),
                service=SERVICE,
                metadata={"public": public},
                follow=("*",),
                door=server_options(),
                port=("BLOG_ADMIN_PORT", settings.admin_port),
                own_registry=registry is not None,
            )
        )
        upstream = await stack.enter_async_context(Upstream.open())
        proxy = Proxy(_Surroundings(member), upstream, served_by=settings.served_by)
        door.open(member, upstream, proxy)
        if await lifecycle.until_stopping(member.ready()):
            await member.serve_until_stopped()


async def run_registry(settings: Settings, lifecycle: Lifecycle) -> None:
    """Run a registry alone, at the inner door's port, until it is asked to stop."""
    async with (
        embedded(settings.model_copy(update={"embed_registry": True}), lifecycle) as registry,
        Member.join(
            lifecycle,
            settings,
            _inner_app(settings, registry),
            service="registry",
            port=("BLOG_ADMIN_PORT", settings.admin_port),
            own_registry=True,
        ) as member,
    ):
        if await lifecycle.until_stopping(member.ready()):
            await member.serve_until_stopped()


@asynccontextmanager
async def embedded(settings: Settings, lifecycle: Lifecycle) -> AsyncIterator[Registry | None]:
    """Run a registry in this process, unless the settings say that it is elsewhere."""
    if not settings.embed_registry:
        yield None
        return
    kept = settings.data_dir / SERVICE / "log-id"
    async with Registry(
        clock=lifecycle.clock,
        token=settings.secret,
        known_log=kept.read_text().strip() if kept.exists() else None,
        remember_log=lambda log_id: _keep(kept, log_id),
    ) as registry:
        yield registry


class _Surroundings:
    """The proxy's view of the member that it is part of."""

    def __init__(self, member: Member) -> None:
        self._member = member
        self.discovery: Discovery = member.discovery
        self.draining: asyncio.Event = member.draining
        self.now = member.clock.monotonic
        self.report = member.session.report

    def streaming(self) -> AbstractContextManager[None]:
        """Count the request as a stream."""
        return self._member.streaming()


def _inner_app(settings: Settings, registry: Registry | None) -> web.Application:
    """Make the inner door's app: the registry, if it is here, behind the token."""
    app = web.Application(
        middlewares=[
            problems,
            requires_token(
                settings.secret, lambda request: request.path.startswith(("/v1/", "/metrics"))
            ),
        ]
    )
    if registry is not None:
        app.add_routes(registry.routes())
    return app


@asynccontextmanager
async def _public_door(app: web.Application, settings: Settings) -> AsyncIterator[str]:
    """Bind the public door; yield its address."""
    runner = web.AppRunner(
        app,
        handle_signals=False,
        access_log=None,
        shutdown_timeout=_CLOSE_TIMEOUT,
        handler_cancellation=True,
        **server_options(),
    )
    await runner.setup()
    try:
        yield await listen(runner, settings.host, "BLOG_PUBLIC_PORT", settings.public_port)
    finally:
        await runner.cleanup()


def _keep(path: Path, text: str) -> None:
    """Write a small file so that it is there whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_suffix(".new")
    fresh.write_text(text + "\n")
    fresh.replace(path)
