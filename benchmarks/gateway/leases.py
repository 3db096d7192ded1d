"""Leases: instances at our registry that cannot announce themselves."""

import http.client
import json
import time
from collections.abc import Callable

from benchmarks.programs import Missing

TTL = 60
"""Seconds of a lease; it is renewed between two measurements, never within one."""


class Leases:
    """Instances at our registry that cannot announce themselves; each is an upstream by another name."""

    def __init__(self, admin: int, services: dict[str, int], address: Callable[[int], str]) -> None:
        self._admin = admin
        self._at = 0.0
        ids = [(service, n) for service, count in services.items() for n in range(count)]
        self._rows = {
            f"/v1/services/{service}/instances/{service}-{n}": self._lease(service, address(number))
            for number, (service, n) in enumerate(ids)
        }

    @staticmethod
    def _lease(service: str, address: str) -> str:
        patterns = (f"/{service}", f"/{service}/{{size}}")
        routes = [{"method": "GET", "pattern": pattern} for pattern in patterns]
        return json.dumps({"address": address, "ttl": TTL, "routes": routes})

    def renew(self) -> None:
        """Put them all, if that was long ago. A lease that is still held is a beat without a body."""
        if time.monotonic() - self._at < TTL / 3:
            return
        connection = http.client.HTTPConnection("127.0.0.1", self._admin, timeout=10)
        try:
            for path, lease in self._rows.items():
                status, said = self._put(connection, path, None) if self._at else (404, "")
                if status == 404:
                    status, said = self._put(connection, path, lease)
                if status != 200:
                    raise Missing(f"PUT {path} answered {status}: {said}")
        except (OSError, http.client.HTTPException) as error:
            raise Missing(f"the registry does not answer: {error!r}") from None
        finally:
            connection.close()
        self._at = time.monotonic()

    @staticmethod
    def _put(connection: http.client.HTTPConnection, path: str, lease: str | None) -> tuple[int, str]:
        headers = {"Content-Type": "application/json"} if lease else {}
        connection.request("PUT", path, body=lease, headers=headers)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
