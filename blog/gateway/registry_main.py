"""Registry on its own: for several gateways, or none. It has the admin API, and no public port."""

from blog.core.settings import Settings
from blog.gateway.admin import admin_app
from blog.gateway.known_log import registry_of
from blog.gateway.process.public import raise_file_limit
from blog.http.limits import server_options
from blog.lifecycle.lifecycle import Lifecycle
from blog.lifecycle.member import Member

SERVICE = "registry"


async def run_registry(settings: Settings, lifecycle: Lifecycle) -> None:
    """Run a registry at BLOG_ADMIN_PORT until it is asked to stop.

    It joins itself, so that it is listed like every other instance. Raises SettingsError when the port
    is taken.
    """
    raise_file_limit()
    async with (
        registry_of(SERVICE, settings, lifecycle) as registry,
        Member.join(
            lifecycle,
            settings,
            admin_app(settings, registry),
            service=SERVICE,
            runner_options=server_options(),
            port=("BLOG_ADMIN_PORT", settings.admin_port),
            own_registry=registry,
        ) as member,
    ):
        member.metrics.register(registry.metrics())
        if await lifecycle.until_stopping(_get_ready(member)):
            await member.serve_until_stopped()


async def _get_ready(member: Member) -> None:
    await member.registry_client.wait_until_joined()
    await member.ready()
