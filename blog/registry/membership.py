"""Membership: who is alive. Pure: it is told what happened and when, and returns what follows from it.

Three rules have their place here and come later: expiry that stops when half of us fall silent at
once (in `tick`), completeness after a restart (beside `join`), and several registries.
"""

import math
from collections.abc import Hashable, Iterable, Iterator
from dataclasses import dataclass
from enum import Enum, auto
from typing import NamedTuple

from blog.core.errors import Conflict
from blog.core.instance import Departure, Instance, Load, State

SUSPECT_AFTER = 3.0
LOST_AFTER = 10.0
PROBE_EVERY = 0.5
_LEAST_MISSED = 3  # probes without an answer, so that a registry that slept itself does not lose anybody


class Sign(Enum):
    """What can be learned about an instance."""

    DIALLED = auto()  # it answered the dial-back: 200, with its id
    HEARD = auto()  # a beat, or an answer to a probe
    SILENT = auto()
    DRAINS = auto()
    LEAVES = auto()
    REFUSED = auto()  # nobody listens at its address
    EXPIRED = auto()
    REMOVED = auto()  # by hand


_END = {sign: State.GONE for sign in (Sign.LEAVES, Sign.REFUSED, Sign.EXPIRED, Sign.REMOVED)}

TRANSITIONS: dict[State, dict[Sign, State]] = {
    State.STARTING: {Sign.DIALLED: State.READY, Sign.DRAINS: State.DRAINING, **_END},
    State.READY: {Sign.SILENT: State.SUSPECT, Sign.DRAINS: State.DRAINING, **_END},
    State.SUSPECT: {Sign.HEARD: State.READY, Sign.DRAINS: State.DRAINING, **_END},
    State.DRAINING: _END,
}
"""State and sign → next state. What is not here changes nothing."""

DEPARTURES = {
    Sign.LEAVES: Departure.LEFT,
    Sign.REFUSED: Departure.LOST,
    Sign.EXPIRED: Departure.LOST,
    Sign.REMOVED: Departure.LOST,
}


class Outcome(Enum):
    """How a probe went. An answer counts only with the id that was meant."""

    READY = auto()  # answered 200
    ALIVE = auto()  # answered anything else
    REFUSED = auto()
    SILENT = auto()  # no answer in time, or somebody else's


class Change(NamedTuple):
    """How an instance is now; when it is gone, `why` says in which way."""

    instance: Instance
    why: Departure | None = None


class Probe(NamedTuple):
    """Whom to dial, and where; `asked` is when this was decided. A dial-back asks for a 200."""

    id: str
    address: str
    asked: float
    is_dial_back: bool = False


class Decision(NamedTuple):
    """What follows: what others have to be told, and whom to dial."""

    changes: tuple[Change, ...] = ()
    probes: tuple[Probe, ...] = ()


NOTHING = Decision()


@dataclass(slots=True)
class _Member:
    instance: Instance
    joined: float
    heard: float
    renewed: float
    session: Hashable | None = None
    ttl: float | None = None
    is_doubted: bool = False
    missed: int = 0
    probe_due: float = math.inf
    is_probed: bool = False
    probe_again: bool = False


class Membership:
    """Every instance that is alive, as far as we know. All times are monotonic seconds.

    An instance is held by a `session` (any key that tells connections apart) or by a lease of `ttl`
    seconds. Signs about unknown ids change nothing.
    """

    def __init__(self) -> None:
        self._members: dict[str, _Member] = {}

    def get(self, id: str) -> Instance | None:  # noqa: A002 - it is what instances call it
        """Return the instance as it is now."""
        member = self._members.get(id)
        return member and member.instance

    def __iter__(self) -> Iterator[Instance]:
        return iter([member.instance for member in self._members.values()])

    def has_session(self, id: str, session: Hashable | None = None) -> bool:  # noqa: A002
        """Tell whether `id` is held by `session`, or by any."""
        member = self._members.get(id)
        held = None if member is None else member.session
        return held is not None and session in (None, held)

    def join(
        self,
        instance: Instance,
        now: float,
        *,
        session: Hashable | None = None,
        ttl: float | None = None,
    ) -> Decision:
        """Take `instance` in, as starting; one that is known keeps its state at the same address.

        Raises Conflict when the id is that of another service's instance.
        """
        known = self._members.get(instance.id)
        if known is not None and known.instance.service != instance.service:
            raise Conflict(f"{instance.id} is the id of an instance of {known.instance.service}.")
        if known is None or known.instance.address != instance.address:
            shown = instance.model_copy(update={"state": State.STARTING})
            self._members[instance.id] = _Member(shown, now, now, now, session, ttl)
            return Decision((Change(shown),))
        shown = instance.model_copy(update={"state": known.instance.state})
        changes = () if _same(shown, known.instance) else (Change(shown),)
        known.instance, known.session, known.ttl, known.renewed = shown, session, ttl, now
        return Decision(self._hear(known, now) or changes)

    def beat(self, id: str, now: float, load: Load | None = None) -> Decision:  # noqa: A002
        """Note that `id` lives, and what it has to do."""
        member = self._members.get(id)
        if member is None:
            return NOTHING
        member.renewed = now
        if load is not None:
            member.instance = member.instance.model_copy(update={"load": load})
        return Decision(self._hear(member, now))

    def ready(self, id: str, now: float) -> Decision:  # noqa: A002
        """Note that `id` says it can answer: one that starts is dialled back first."""
        member = self._members.get(id)
        if member is None or member.instance.state is not State.STARTING:
            return NOTHING
        return Decision(probes=(Probe(id, member.instance.address, now, is_dial_back=True),))

    def drain(self, id: str) -> Decision:  # noqa: A002
        """Note that `id` wants nothing new."""
        return self._sign(id, Sign.DRAINS)

    def leave(self, id: str) -> Decision:  # noqa: A002
        """Note that `id` said goodbye."""
        return self._sign(id, Sign.LEAVES)

    def remove(self, id: str) -> Decision:  # noqa: A002
        """Take `id` out because somebody said so."""
        return self._sign(id, Sign.REMOVED)

    def closed(self, id: str, session: Hashable, now: float) -> Decision:  # noqa: A002
        """Note that the connection ended without a goodbye: probe at once, unless there is a newer."""
        if not self.has_session(id, session):
            return NOTHING
        return Decision(probes=self._probe(self._members[id], now))

    def reported(self, id: str, now: float) -> Decision:  # noqa: A002
        """Note that somebody could not reach `id`: probe at once."""
        member = self._members.get(id)
        return NOTHING if member is None else Decision(probes=self._probe(member, now))

    def probed(self, probe: Probe, outcome: Outcome, now: float) -> Decision:
        """Draw the conclusions from `probe`, unless they are about somebody who was there before."""
        member = self._members.get(probe.id)
        if (
            member is None
            or member.instance.address != probe.address
            or member.joined > probe.asked
        ):
            return NOTHING
        if probe.is_dial_back:
            return self._sign(probe.id, Sign.DIALLED) if outcome is Outcome.READY else NOTHING
        again, member.is_probed, member.probe_again = member.probe_again, False, False
        changes = self._conclude(member, probe, outcome, now)
        return Decision(changes, self._probe(member, now) if again and probe.id in self._members else ())

    def tick(self, now: float) -> Decision:
        """Find out what time alone has changed. Call it some times a second."""
        changes: list[Change] = []
        probes: list[Probe] = []
        for member in list(self._members.values()):
            changes.extend(self._overdue(member, now))
            if member.is_doubted and not member.is_probed and now >= member.probe_due:
                probes.extend(self._probe(member, now))
        return Decision(tuple(changes), tuple(probes))

    def _overdue(self, member: _Member, now: float) -> Iterable[Change]:
        """A lease ends after its time; a session that is silent for too long is doubted."""
        if member.ttl is not None:
            return self._apply(member, Sign.EXPIRED) if now - member.renewed >= member.ttl else ()
        if not member.is_doubted and now - member.heard >= SUSPECT_AFTER:
            return self._doubt(member, now)
        return ()

    def _conclude(
        self, member: _Member, probe: Probe, outcome: Outcome, now: float
    ) -> tuple[Change, ...]:
        if outcome is Outcome.REFUSED:
            return self._apply(member, Sign.REFUSED)
        if outcome is not Outcome.SILENT:
            return self._hear(member, now)
        if member.heard > probe.asked:
            return ()
        member.missed += 1
        if (
            member.ttl is None
            and member.missed >= _LEAST_MISSED
            and now - member.heard >= LOST_AFTER
        ):
            return self._apply(member, Sign.EXPIRED)
        return () if member.is_doubted else self._doubt(member, probe.asked + PROBE_EVERY)

    def _doubt(self, member: _Member, probe_due: float) -> tuple[Change, ...]:
        member.is_doubted, member.probe_due = True, probe_due
        return self._apply(member, Sign.SILENT)

    def _hear(self, member: _Member, now: float) -> tuple[Change, ...]:
        member.heard, member.is_doubted, member.missed = now, False, 0
        return self._apply(member, Sign.HEARD)

    def _probe(self, member: _Member, now: float) -> tuple[Probe, ...]:
        """Dial `member` now, or once more when the dialling that is under way has ended."""
        if member.is_probed:
            member.probe_again = True
            return ()
        member.is_probed, member.probe_due = True, now + PROBE_EVERY
        return (Probe(member.instance.id, member.instance.address, now),)

    def _sign(self, id_: str, sign: Sign) -> Decision:
        member = self._members.get(id_)
        return NOTHING if member is None else Decision(self._apply(member, sign))

    def _apply(self, member: _Member, sign: Sign) -> tuple[Change, ...]:
        """Follow the table."""
        state = TRANSITIONS[member.instance.state].get(sign)
        if state is None:
            return ()
        member.instance = member.instance.model_copy(update={"state": state})
        if state is State.GONE:
            del self._members[member.instance.id]
        return (Change(member.instance, DEPARTURES.get(sign)),)

    def __repr__(self) -> str:
        """Show everybody's state."""
        known = ", ".join(f"{instance.id} {instance.state}" for instance in self)
        return f"<Membership: {known or 'nobody'}>"


def _same(one: Instance, other: Instance) -> bool:
    """Tell whether others would see no difference: the load is not theirs to see."""
    return one.model_copy(update={"load": other.load}) == other
