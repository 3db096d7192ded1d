"""Session handler: what instances and followers send over their sessions, and what it changes at once."""

from aiohttp import WSCloseCode, WSMsgType, web

from blog.core.errors import Invalid, TooMany
from blog.core.instance import Instance
from blog.core.logs import get_logger
from blog.core.net.peer import peer_of
from blog.registry.log_identity import BUS, LOG_KEY
from blog.registry.messages import (
    PROTOCOL_VERSION,
    Ack,
    DrainRequest,
    FromInstance,
    Heartbeat,
    Join,
    Joined,
    LeaveNotice,
    ReadyRequest,
    UnhealthyReport,
)
from blog.registry.reading import ProtocolError
from blog.registry.server.admission import MAX_FOLLOWED
from blog.registry.server.joins import JoinRefusedError
from blog.registry.server.service import Registry
from blog.registry.server.session import ServerSession
from blog.registry.server.transitions import RemovalCause

_DATA = (WSMsgType.TEXT, WSMsgType.BINARY)
_ROUTE = "/v1/session"
_MAX_MESSAGE = 4 << 20  # bytes; a follower lists every instance that it knows
_MAX_OF_STRANGER = 1 << 20  # what it lists is not read, and what is large takes long to parse

log = get_logger()


class SessionHandler:
    """The handler of `/v1/session`; it holds no state of its own."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._membership = registry.membership
        self._publisher = registry.publisher

    async def serve(self, request: web.Request) -> web.WebSocketResponse:
        """Serve one session, from its handshake to its end."""
        peer = peer_of(request)
        limit = _MAX_MESSAGE if self._registry.policy.is_trusted(peer) else _MAX_OF_STRANGER
        socket = web.WebSocketResponse(max_msg_size=limit, timeout=0.2, compress=False)
        await socket.prepare(request)
        if request.transport is None:  # gone already
            return socket
        session = ServerSession(socket, request.transport, peer)
        self._publisher.add(session)
        try:
            await self._receive(session)
        finally:
            instance_id = session.instance_id
            self._publisher.remove(session)
            if instance_id is not None:
                self._registry.ended(instance_id)
        return socket

    async def _receive(self, session: ServerSession) -> None:
        async for frame in session.socket:
            if frame.type not in _DATA:
                break
            session.received()
            try:
                message = session.reader.read(frame.data)
                if message is not None:
                    self._handle(session, message)
            except ProtocolError as error:
                self._registry.policy.refusals.log(session.peer, _ROUTE, str(error))
                await session.close(str(error))
                return
            except JoinRefusedError as refused:
                await self._refuse(session, refused)
                return

    async def _refuse(self, session: ServerSession, refused: JoinRefusedError) -> None:
        self._registry.policy.refusals.log(session.peer, _ROUTE, str(refused))
        code = WSCloseCode.POLICY_VIOLATION if refused.is_final else WSCloseCode.TRY_AGAIN_LATER
        await session.close(str(refused), code)

    def _handle(self, session: ServerSession, message: FromInstance) -> None:
        match message:
            case Heartbeat():
                self._heartbeat(session.instance_id, message)
            case Join():
                self._join(session, message)
            case Ack():
                self._publisher.acknowledge(session, message.version)
            case UnhealthyReport():
                self._registry.report_unhealthy(message.id, message.why)
            case _ if session.instance_id is not None:
                self._handle_of_instance(session, session.instance_id, message)

    def _heartbeat(self, id_: str | None, message: Heartbeat) -> None:
        if id_ is None:  # it only follows
            return
        if not self._membership.heartbeat(id_, message.load, self._registry.now()):
            self._registry.disconnect(id_)
        elif self._membership.has_changes():
            self._registry.schedule_delta()

    def _handle_of_instance(self, session: ServerSession, id_: str, message: FromInstance) -> None:
        match message:
            case ReadyRequest():
                if not self._registry.dial_backs.is_under_way(
                    id_
                ):  # otherwise it will be told, or asks again
                    self._registry.start(self._admit(id_, session.peer))
            case DrainRequest() if id_ in self._membership:
                self._publisher.start_drain(id_)
                self._membership.drain(id_)
            case LeaveNotice():
                self._publisher.set_instance(session, None)
                self._membership.remove(id_, RemovalCause.LEFT)
        self._registry.schedule_delta()

    def _join(self, session: ServerSession, message: Join) -> None:
        if len(message.follow) > MAX_FOLLOWED:
            raise JoinRefusedError(f"follow: at most {MAX_FOLLOWED} services", Invalid)
        self._publisher.set_follow(session, frozenset(message.follow))
        now = self._registry.now()
        if self._registry.policy.is_trusted(session.peer):
            self._membership.expect(message.known, now)
            if message.expects is not None:
                self._membership.expect_services(message.expects)
        instance = message.instance
        if instance is not None:
            self._enter(session, instance, message.key)
        session.send(
            Joined(
                protocol=PROTOCOL_VERSION,
                epoch=self._registry.epoch,
                log=self._log_for(session, instance),
                address=instance.address if instance else None,
            )
        )
        # changes that are not published yet come with the next delta, followed by a complete snapshot
        is_complete = self._membership.is_complete(now) and not self._membership.has_changes()
        self._publisher.send_snapshots([session], complete=is_complete)
        self._registry.schedule_delta()

    def _enter(self, session: ServerSession, instance: Instance, key: str | None) -> None:
        session.is_turned_away = not self._registry.joins.join(session, instance, key)
        if session.is_turned_away:
            advice = self._registry.log_identity.advice
            self._registry.policy.refusals.log(session.peer, _ROUTE, advice, id=instance.id)
        else:
            if self._registry.policy.is_trusted(session.peer):  # of others it counts once they are ready
                self._registry.on_reached(session.local_host)
            log.info("instance.joined", id=instance.id, address=instance.address, peer=session.peer)

    def _log_for(self, session: ServerSession, instance: Instance | None) -> str | None:
        """Return the log to tell; a bus that was let in hears its own, though none is known yet.

        By another one it would end.
        """
        if instance is not None and instance.service == BUS and not session.is_turned_away:
            return instance.metadata.get(LOG_KEY)
        return self._registry.log_identity.current

    async def _admit(self, instance_id: str, peer: str) -> None:
        """Dial an instance back, and tell the session that holds it by then."""
        try:
            outcome = await self._registry.dial_backs.dial_back(instance_id, peer)
        except TooMany:
            return  # it asks again with its next heartbeat
        if outcome is not None:
            self._registry.schedule_delta()
            for session in self._publisher.sessions_of(instance_id):
                session.send(outcome)
