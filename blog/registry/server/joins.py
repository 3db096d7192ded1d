"""Joins: the one way into the table, for sessions and for leases. What a joiner says is a claim.

It puts the rules together (`admission`, `ownership`, `join_order`, `log_identity`) and decides at once:
between the check and the row nobody else has a turn. What is said becomes so when the instance is ready.
"""

from collections.abc import Callable
from datetime import datetime
from hashlib import sha256

from blog.core.errors import BlogError, Conflict, Forbidden, Invalid, TooMany
from blog.core.instance import Instance
from blog.core.logs import get_logger
from blog.core.net.access_policy import AccessPolicy
from blog.registry.log_identity import LogIdentity
from blog.registry.server.admission import RESERVED, why_not_name, why_not_row
from blog.registry.server.join_order import JoinOrder
from blog.registry.server.membership import Membership
from blog.registry.server.ownership import Holder, Holders, why_not_lease, why_not_session
from blog.registry.server.publisher import TablePublisher
from blog.registry.server.session import ServerSession
from blog.registry.server.transitions import RemovalCause

_REPLACED = "your id belongs to another session now"
_JUST_GONE = "an instance of another service had this id a moment ago; try again"
_OUTRANKED = "an instance of this name has joined on the registry's own machine, or with the token"

log = get_logger()


class JoinRefusedError(Exception):
    """The instance may not join; the message says why, and `kind` which error it is over HTTP."""

    def __init__(self, why: str, kind: type[BlogError] = Conflict) -> None:
        super().__init__(why)
        self.kind = kind

    @property
    def is_final(self) -> bool:
        """Whether trying again does not help."""
        return self.kind is Invalid


class Joins:
    """Lets instances into the table. `now` is in monotonic seconds, `wall_clock` the time of day.

    `release` closes a session that holds its id no more, with a reason. `on_ready` is told of each
    instance that is ready now, or is again with another row.
    """

    def __init__(  # noqa: PLR0913 - the rules, the table, and two clocks
        self,
        *,
        membership: Membership,
        publisher: TablePublisher,
        policy: AccessPolicy,
        log_identity: LogIdentity,
        order: JoinOrder,
        now: Callable[[], float],
        wall_clock: Callable[[], datetime],
        release: Callable[[ServerSession, str], None],
        on_ready: Callable[[str], None],
    ) -> None:
        self.holders = Holders(membership.__contains__)
        self._membership = membership
        self._publisher = publisher
        self._policy = policy
        self._log_identity = log_identity
        self._order = order
        self._now = now
        self._wall_clock = wall_clock
        self._release = release
        self._on_ready = on_ready

    def join(self, session: ServerSession, instance: Instance, key: str | None = None) -> bool:
        """Let the instance at the other end of `session` join, or join again.

        False: it is a bus with another log than the blog's, and only follows. Raises JoinRefusedError.
        """
        if session.instance_id not in (None, instance.id):
            raise JoinRefusedError("this session is of another instance", Invalid)
        joiner = self._joiner(instance, session.peer, key=key)
        held = self.holders.get(instance.id)
        if held is not None:
            holding = self._publisher.sessions_of(instance.id)
            why = why_not_session(
                held,
                joiner,
                is_own=session in holding,
                is_silent=all(one.is_silent for one in holding) if holding else None,
            )
            if why is not None:
                raise JoinRefusedError(why)
        self._check(instance, joiner, held)
        if not self._log_identity.accepts(instance, is_trusted=joiner.is_trusted):
            return False
        self._replace_others(session, instance.id, is_same=held is not None and held.is_same_process(key))
        self._publisher.set_instance(session, instance.id)
        self._enter(instance, joiner, held, None)
        return True

    def _replace_others(self, session: ServerSession, instance_id: str, *, is_same: bool) -> None:
        """Release the other sessions of an id.

        A process may have several: a registry has two names, as for the gateway that it runs in. Of
        those only one whose connection is broken goes.
        """
        for other in self._publisher.sessions_of(instance_id):
            if other is not session and (other.is_silent or not is_same):
                self._release(other, _REPLACED)

    def put_lease(self, instance: Instance, peer: str, ttl: float) -> None:
        """Add the lease that `peer` puts, or renew it with another row. Raises JoinRefusedError."""
        joiner = self._joiner(instance, peer, is_lease=True)
        held = self.holders.get(instance.id)
        why = why_not_lease(held, joiner) if held is not None else None
        if why is not None:
            raise JoinRefusedError(why)
        self._check(instance, joiner, held)
        if not self._log_identity.accepts(instance, is_trusted=joiner.is_trusted):
            raise JoinRefusedError(self._log_identity.advice)
        for other in self._publisher.sessions_of(instance.id):  # of a row that is gone
            self._release(other, _REPLACED)
        self._enter(instance, joiner, held, ttl)

    def admit(self, instance_id: str) -> None:
        """Make an instance ready for others: its dial-back succeeded."""
        self._membership.admit(instance_id)
        self._on_ready(instance_id)

    def may_change(self, held: Holder, peer: str) -> bool:
        """Return whether `peer` may renew or end what somebody has put."""
        return self._policy.is_trusted(peer) or held.peer == peer

    def is_stranger(self, instance_id: str) -> bool:
        """Return whether nobody vouches for the instance, and nothing has responded at its address."""
        holder, row = self.holders.get(instance_id), self._membership.get(instance_id)
        if holder is None or row is None or holder.is_trusted:
            return False
        return holder.proven != row.address

    def _joiner(
        self, instance: Instance, peer: str, *, key: str | None = None, is_lease: bool = False
    ) -> Holder:
        is_trusted = self._policy.is_trusted(peer)
        return Holder(
            service=instance.service,
            peer=peer,
            is_trusted=is_trusted,
            key=key,
            is_lease=is_lease,
            size=0 if is_trusted else len(instance.model_dump_json()),
            routes=len(instance.routes),
            declared=b"" if is_trusted else _digest(instance),
        )

    def _check(self, instance: Instance, joiner: Holder, held: Holder | None) -> None:
        """Raise JoinRefusedError for a row that may not be in the table."""
        why = why_not_row(instance)
        if why is not None:
            raise JoinRefusedError(why, Invalid)
        if instance.service in RESERVED:
            others = self._membership.ids_of(instance.service)
            why = why_not_name(instance, others, is_trusted=joiner.is_trusted)
            if why is not None:
                raise JoinRefusedError(why, Forbidden)
        if self._membership.departed_from(instance.id) not in (None, instance.service):
            raise JoinRefusedError(_JUST_GONE)
        why = self.holders.why_full(joiner, held)
        if why is not None:
            raise JoinRefusedError(why, TooMany)

    def _enter(
        self, instance: Instance, joiner: Holder, held: Holder | None, lease: float | None
    ) -> None:
        if held is not None:
            joiner.succeed(held)
        self.holders.put(instance.id, joiner)
        self._membership.join(self._order.stamped(instance, self._wall_clock()), self._now(), lease)
        if self._policy.is_protected and joiner.is_trusted and instance.service in RESERVED:
            self._outrank(instance.service)
        row = self._membership.get(instance.id)
        if row is not None and row.is_serving() and joiner.proven == row.address:
            self._on_ready(instance.id)

    def _outrank(self, service: str) -> None:
        """Remove the instances of a reserved name that nobody vouches for."""
        for id_ in self._membership.ids_of(service):
            holder = self.holders.get(id_)
            if holder is not None and not holder.is_trusted:
                log.warning("instance.outranked", id=id_, peer=holder.peer)
                self._membership.remove(id_, RemovalCause.FORCED)
                for session in self._publisher.sessions_of(id_):
                    self._release(session, _OUTRANKED)

    def __repr__(self) -> str:
        """Show the holders."""
        return f"<Joins: {self.holders!r}>"


def _digest(instance: Instance) -> bytes:
    return sha256(instance.model_dump_json(include={"routes"}).encode()).digest()
