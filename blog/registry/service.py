"""Registry: puts membership, probes and followers on the network. Every rule is in `membership`.

Instances of ours hold a WebSocket session; what others do over REST is in `rest`.
"""

import asyncio
from collections.abc import Callable
from types import TracebackType
from typing import Self

from aiohttp import WSCloseCode, WSMsgType, web
from pydantic import BaseModel, ValidationError

from blog.core.clock import Clock
from blog.core.errors import BlogError, Conflict
from blog.core.ids import new_id
from blog.core.instance import Instance, Load, State
from blog.core.logs import get_logger
from blog.core.web import invalid
from blog.registry.membership import Change, Decision, Membership, Outcome, Probe
from blog.registry.messages import (
    Ack,
    Beat,
    Drain,
    Drained,
    FromInstance,
    Join,
    Joined,
    Leave,
    Ready,
    Refused,
    Report,
    encode,
    parse_from_instance,
)
from blog.registry.probe import Dialler, Finding
from blog.registry.publisher import Follower, Publisher
from blog.registry.workers import Workers

BUS = "bus"
DRAIN_TIMEOUT = 1.5
_TICK = 0.1
_HEARTBEAT = 6.0  # seconds between WebSocket pings: finds out that a follower's machine is gone
_CLOSE_TIMEOUT = 0.3
_LARGEST_MESSAGE = 256 * 1024
_LONGEST_REASON = 123  # bytes, RFC 6455 §5.5
_FACTS = {
    State.STARTING: "instance.joined",
    State.READY: "instance.became_ready",
    State.SUSPECT: "instance.suspected",
    State.DRAINING: "instance.drains",
}

log = get_logger()


def ignore(_: str) -> None:
    """Remember nothing."""


class _Peer:
    """The other end of one session: maybe an instance, maybe a follower, maybe both."""

    def __init__(self, socket: web.WebSocketResponse) -> None:
        self.socket = socket
        self.follower = Follower(self.send_text)
        self.is_joined = False
        self.id: str | None = None  # of the instance that this session holds
        self.refusal: Refused | None = None  # why its instance was not taken in

    async def send_text(self, text: str) -> bool:
        """Send; False when the connection is gone."""
        try:
            await self.socket.send_str(text)
        except (ConnectionError, RuntimeError):
            return False
        return True

    async def send(self, message: BaseModel) -> bool:
        """Send a message; False when the connection is gone."""
        return await self.send_text(encode(message))

    async def close(self, code: int, reason: str) -> None:
        """Close with a reason that the other end can log."""
        await self.socket.close(code=code, message=_cut(reason))


class Registry:
    """Who is alive. `async with registry` runs its timer, probes and publishing.

    `known_log` is the identity of the log that buses must have, `remember_log` is called when it
    becomes known. The token is sent along with probes.
    """

    def __init__(
        self,
        *,
        clock: Clock,
        token: str | None,
        known_log: str | None = None,
        remember_log: Callable[[str], None] = ignore,
    ) -> None:
        self.epoch = new_id()
        self.log = known_log
        self.members = Membership()
        self.publisher = Publisher(self.epoch)
        self._clock = clock
        self._remember_log = remember_log
        self._dialler = Dialler(token)
        self._workers = Workers()
        self._peers: set[_Peer] = set()
        self._is_open = False

    def routes(self) -> list[web.RouteDef]:
        """Return the routes of sessions and REST; whoever mounts them asks for the token."""
        from blog.registry.rest import Rest  # noqa: PLC0415 - the two know each other

        return [web.get("/v1/session", self._session), *Rest(self).routes()]

    async def __aenter__(self) -> Self:
        await self._dialler.__aenter__()
        await self._workers.__aenter__()
        self._workers.start(self._keep_time())
        self._workers.start(self.publisher.run())
        self._is_open = True
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._is_open = False
        self.publisher.stop_waiting()
        try:
            async with asyncio.TaskGroup() as group:
                for peer in self._peers:
                    group.create_task(peer.close(WSCloseCode.GOING_AWAY, "the registry ends"))
        finally:
            await self._workers.__aexit__(kind, error, trace)
            await self._dialler.__aexit__(kind, error, trace)

    @property
    def is_open(self) -> bool:
        """Tell whether it runs; when it does not, nobody is worth waiting for."""
        return self._is_open

    def now(self) -> float:
        """Read the clock, for the membership."""
        return self._clock.monotonic()

    def admit(self, instance: Instance) -> None:
        """Let a bus in only with the known log; the first one's becomes known, an adopting one's too.

        Raises Conflict that says which is which.
        """
        its = instance.metadata.get("log")
        if instance.service != BUS or its is None or its == self.log:
            return
        if self.log is not None and instance.metadata.get("adopt") != "true":
            log.warning("bus.refused", id=instance.id, known=self.log, its=its)
            raise Conflict(
                f"this blog's log is {self.log}; {instance.id} has another one, {its}"
                " (blog bus --adopt would make it the blog's)"
            )
        self.log = its
        self._remember_log(its)
        log.info("log.known", log=its, bus=instance.id)

    def act(self, decision: Decision) -> None:
        """Tell and dial whom `decision` says."""
        for change in decision.changes:
            _note(change)
            if change.why is not None:
                self._workers.start(self._let_go(change.instance.id))
        self.publisher.publish(decision.changes)
        for probe in decision.probes:
            self._workers.start(self._probe(probe))

    async def dial_back(self, probe: Probe) -> Finding:
        """Dial an instance that says it is ready, and make it so for others if it answers."""
        finding = await self._dialler.dial(probe)
        self.act(self.members.probed(probe, finding.outcome, self.now()))
        return finding

    async def _keep_time(self) -> None:
        while True:
            await asyncio.sleep(_TICK)
            self.act(self.members.tick(self.now()))

    async def _probe(self, probe: Probe) -> None:
        finding = await self._dialler.dial(probe)
        self.act(self.members.probed(probe, finding.outcome, self.now()))

    async def _let_go(self, id_: str) -> None:
        """End the session of an instance that is no more: if it lives all the same, it joins again."""
        for peer in [peer for peer in self._peers if peer.id == id_]:
            peer.id = None
            await peer.close(WSCloseCode.GOING_AWAY, "you are no longer known here; join again")

    async def _session(self, request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse(
            heartbeat=_HEARTBEAT, timeout=_CLOSE_TIMEOUT, max_msg_size=_LARGEST_MESSAGE
        )
        await socket.prepare(request)
        peer = _Peer(socket)
        self._peers.add(peer)
        try:
            async with Workers() as workers:
                workers.start(self.publisher.serve(peer.follower))
                await self._listen(peer, workers)
        finally:
            self._peers.discard(peer)
            if peer.id is not None and self._is_open:
                self.act(self.members.closed(peer.id, peer, self.now()))
        return socket

    async def _listen(self, peer: _Peer, workers: Workers) -> None:
        """Take in message after message; one that cannot be taken ends the session, with the reason."""
        try:
            async for message in peer.socket:
                if message.type is not WSMsgType.TEXT:
                    raise Conflict("messages are text frames of JSON")
                await self._hear(peer, parse_from_instance(message.data), workers)
        except ValidationError as error:
            await self._refuse(peer, invalid(error).detail)
        except BlogError as error:
            await self._refuse(peer, error.detail)

    async def _refuse(self, peer: _Peer, why: str) -> None:
        log.warning("session.refused", id=peer.id, why=why)
        await peer.close(WSCloseCode.POLICY_VIOLATION, why)

    async def _hear(self, peer: _Peer, message: FromInstance, workers: Workers) -> None:
        if not peer.is_joined and not isinstance(message, Join):
            raise Conflict(f"the first message is join, not {message.type}")
        match message:
            case Join():
                await self._join(peer, message)
            case Ready():
                workers.start(self._make_ready(peer))
            case Beat(load=load):
                self._beat(peer, load)
            case Ack(version=version):
                self.publisher.acknowledge(peer.follower, version)
            case Report(id=id_, why=why):
                log.info("instance.reported", id=id_, by=peer.id, why=why)
                self.act(self.members.reported(id_, self.now()))
            case Drain():
                self._drain(peer, workers)
            case Leave() if peer.id is not None:
                id_, peer.id = peer.id, None
                self.act(self.members.leave(id_))

    async def _join(self, peer: _Peer, join: Join) -> None:
        instance = join.instance
        if peer.id is not None and (instance is None or instance.id != peer.id):
            raise Conflict(f"this session is that of {peer.id}")
        if instance is not None:
            self._take_in(peer, instance)
        peer.is_joined = True
        address = instance.address if instance else None
        await peer.send(Joined(epoch=self.epoch, log=self.log, address=address))
        if join.follow:
            peer.follower.start_over(frozenset(join.follow))

    def _take_in(self, peer: _Peer, instance: Instance) -> None:
        """Make `peer` the session of `instance`, unless it is a bus with another log."""
        try:
            self.admit(instance)
        except Conflict as error:
            peer.refusal = Refused(tried=instance.address, why=error.detail)
            return
        self.act(self.members.join(instance, self.now(), session=peer))
        for older in self._peers:
            if older.id == instance.id and older is not peer:
                older.id = None
                self._workers.start(older.close(WSCloseCode.GOING_AWAY, "there is a newer session"))
        peer.id, peer.refusal = instance.id, None

    async def _make_ready(self, peer: _Peer) -> None:
        """Answer a ready: agree with those who are, dial back those who start."""
        if peer.refusal is not None:
            await peer.send(peer.refusal)
        if peer.id is None:
            return
        for probe in self.members.ready(peer.id, self.now()).probes:
            finding = await self.dial_back(probe)
            if finding.outcome is not Outcome.READY:
                log.info("instance.refused", id=probe.id, tried=probe.address, why=finding.why)
                await peer.send(Refused(tried=probe.address, why=finding.why))
        instance = self.members.get(peer.id)
        if instance is not None and instance.is_serving():
            await peer.send(Ready())

    def _beat(self, peer: _Peer, load: Load) -> None:
        if peer.id is not None:
            self.act(self.members.beat(peer.id, self.now(), load))

    def _drain(self, peer: _Peer, workers: Workers) -> None:
        instance = self.members.get(peer.id) if peer.id is not None else None
        if instance is not None:
            self.act(self.members.drain(instance.id))
        workers.start(self._tell_drained(peer, instance.service if instance else ""))

    async def _tell_drained(self, peer: _Peer, service: str) -> None:
        """Say drained when every follower of `service` knows, or had the time to."""
        try:
            async with asyncio.timeout(DRAIN_TIMEOUT):
                await self.publisher.wait_until_known(
                    service, self.publisher.table.version, but=peer.follower
                )
        except TimeoutError:
            log.warning("drain.unacknowledged", id=peer.id)
        await peer.send(Drained())

    def __repr__(self) -> str:
        """Show who is alive."""
        return f"<Registry of epoch {self.epoch}: {self.members!r}>"


def _note(change: Change) -> None:
    """Log what became of an instance."""
    instance, why = change
    fact = _FACTS[instance.state] if why is None else f"instance.{why}"
    log.info(fact, id=instance.id, service=instance.service, address=instance.address)


def _cut(reason: str) -> bytes:
    """Fit `reason` into a close frame."""
    return reason.encode()[:_LONGEST_REASON].decode(errors="ignore").encode()


