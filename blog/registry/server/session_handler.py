"""Sessions: what instances and followers say over their sockets, and what becomes of it at once."""

from aiohttp import WSMsgType, web
from pydantic import ValidationError

from blog.core.logs import get_logger
from blog.registry.messages import (
    Ack,
    DrainRequest,
    FromInstance,
    Heartbeat,
    Join,
    Joined,
    LeaveNotice,
    ReadyRequest,
    UnhealthyReport,
    parse_from_instance,
)
from blog.registry.server.service import Registry
from blog.registry.server.session import ServerSession, peer_of
from blog.registry.server.transitions import RemovalCause

_MAX_MESSAGE = 4 << 20  # bytes; a follower names everybody whom it knows

log = get_logger()


class SessionHandler:
    """The handler of `/v1/session`; all it knows is the registry's."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._table = registry.membership
        self._publisher = registry.publisher

    async def serve(self, request: web.Request) -> web.WebSocketResponse:
        """Hold one session, from its handshake to its end."""
        socket = web.WebSocketResponse(max_msg_size=_MAX_MESSAGE, timeout=0.2, compress=False)
        await socket.prepare(request)
        if request.transport is None:  # gone already
            return socket
        talk = ServerSession(socket, request.transport, peer_of(request))
        self._publisher.open(talk)
        try:
            await self._listen(talk)
        finally:
            instance_id = talk.instance_id
            self._publisher.close(talk)
            if instance_id is not None:
                self._registry.report_unhealthy(instance_id, "its session closed")
        return socket

    async def _listen(self, talk: ServerSession) -> None:
        async for message in talk.socket:
            if message.type is not WSMsgType.TEXT:
                break
            try:
                said = parse_from_instance(message.data)
            except ValidationError as error:
                first = error.errors()[0]
                await talk.refuse(f"{'.'.join(map(str, first['loc']))}: {first['msg']}")
                return
            self._take(talk, said)

    def _take(self, talk: ServerSession, said: FromInstance) -> None:
        talk.heard()
        match said:
            case Heartbeat():
                self._beat(talk.instance_id, said)
            case Join():
                self._join(talk, said)
            case Ack():
                self._publisher.acked(talk, said.version)
            case UnhealthyReport():
                self._registry.report_unhealthy(said.id, said.why)
            case _ if talk.instance_id is not None:
                self._take_of_instance(talk, talk.instance_id, said)

    def _beat(self, id_: str | None, said: Heartbeat) -> None:
        if id_ is None:  # it only follows
            return
        if not self._table.beat(id_, said.load, self._registry.now()):
            self._registry.send_away(id_)
        elif self._table.has_changes():
            self._registry.schedule_delta()

    def _take_of_instance(self, talk: ServerSession, id_: str, said: FromInstance) -> None:
        match said:
            case ReadyRequest():
                self._registry.start(self._greet(talk, id_))
            case DrainRequest():
                self._publisher.drains(id_)
                self._table.drain(id_)
            case LeaveNotice():
                self._publisher.belongs(talk, None)
                self._table.remove(id_, RemovalCause.LEFT)
        self._registry.schedule_delta()

    def _join(self, talk: ServerSession, said: Join) -> None:
        self._publisher.follows(talk, frozenset(said.follow))
        now = self._registry.now()
        self._table.expect(said.known, now)
        if said.expects is not None:
            self._table.expect_services(said.expects)
        if said.instance is not None and self._registry.log_identity.accepts(said.instance):
            self._publisher.belongs(talk, said.instance.id)
            self._table.join(said.instance, now)
            log.info("instance.joined", id=said.instance.id, address=said.instance.address)
        address = said.instance.address if said.instance else None
        talk.say(
            Joined(epoch=self._registry.epoch, log=self._registry.log_identity.current, address=address)
        )
        # what is not told yet comes with the next delta, and after it all of this again
        is_complete = self._table.is_complete(now) and not self._table.has_changes()
        self._publisher.tell_table([talk], complete=is_complete)
        self._registry.schedule_delta()

    async def _greet(self, talk: ServerSession, instance_id: str) -> None:
        instance = self._table.get(instance_id)
        if instance is not None:
            talk.say(await self._registry.dial_back(instance, talk.peer))
