"""Announcement: an instance as a registry is told of it, at the address on the way to that registry."""

from blog.core.instance import Instance
from blog.core.net.address import Address
from blog.core.net.routes import way_to
from blog.registry.address import announced_address
from blog.registry.client.connection import RegistryConnection


class Announcement:
    """Made of `instance`, whose address is the one listened on.

    `advertise` is announced everywhere. `elsewhere` is our host for others, where the local end of a
    connection is loopback.
    """

    def __init__(self, instance: Instance, advertise: str | None, elsewhere: str | None) -> None:
        self.elsewhere = elsewhere
        self._instance = instance
        self._advertise = advertise

    def at(self, connection: RegistryConnection) -> Instance:
        """Return the instance to announce there. Raises ConnectionError when the connection is gone."""
        address = self._address(connection)
        if address != connection.announced:
            connection.announced, connection.is_acknowledged = address, False
        return self._instance.model_copy(update={"address": address})

    async def find_way(self, connection: RegistryConnection) -> None:
        """Find our end of the way to the registry, if the connection is of a family not listened on.

        Whoever listens on 0.0.0.0 can dial an address of IPv6, and be dialled by IPv4 only. Raises
        ConnectionError when the connection is gone.
        """
        bound = Address.parse(self._instance.address)
        if self._advertise is None and bound.is_unspecified:
            local = Address.of(connection.local_host, 0)
            if local.family not in bound.families and not local.is_loopback:
                connection.way = await way_to(connection.url, bound.families)

    def is_outdated(self, connection: RegistryConnection) -> bool:
        """Return whether the registry was told another address than now, and can be told."""
        try:
            return connection.announced not in (None, self._address(connection))
        except ConnectionError:  # it is gone, and will be told when it is back
            return False

    def _address(self, connection: RegistryConnection) -> str:
        if self._advertise is not None:
            return self._advertise
        return announced_address(self._instance.address, connection.local_host, self.elsewhere)

    def __repr__(self) -> str:
        """Show the instance, and where it listens."""
        return f"<Announcement of {self._instance.id} at {self._instance.address}>"
