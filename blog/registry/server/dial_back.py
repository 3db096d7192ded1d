"""Dial-back: whether an instance responds at the address that it announces, before others use it.

One at a time per instance, few at a time per joiner. Who has no right to know learns nothing of what is
at an address: one text and one duration for every failure, and the row is treated alike.
"""

import asyncio
from dataclasses import dataclass

from blog.core.clock import Clock
from blog.core.instance import Instance, State
from blog.core.logs import get_logger
from blog.registry.address import advice
from blog.registry.messages import DialBackFailed, ReadyAck
from blog.registry.server.dial_limits import DialLimits
from blog.registry.server.dial_target import DialTargets, NotAllowedError
from blog.registry.server.joins import Joins
from blog.registry.server.membership import Membership
from blog.registry.server.ownership import Holder
from blog.registry.server.probe import DIAL_BACK_TIMEOUT, ProbeOutcome, Prober
from blog.registry.server.transitions import ProbeResult

FAILURE_TIME = DIAL_BACK_TIMEOUT + 0.1
"""Seconds after which a joiner learns that its dial-back failed, where it may not know why."""
NOT_REACHABLE = "not reachable"
_RULE = "without a token only addresses in the registry's private networks are dialled"

log = get_logger()


@dataclass(slots=True)
class _Flight:
    """A dial-back that is under way, and its outcome once it is over."""

    address: str
    tenure: object
    outcome: "asyncio.Future[DialBackFailed | ReadyAck | None]"


class DialBacks:
    """Dials instances back and makes those ready that respond.

    `tells_why`: a joiner learns why it is not reachable. Without a token nobody does.
    """

    def __init__(  # noqa: PLR0913 - the rules and the table
        self,
        *,
        prober: Prober,
        membership: Membership,
        joins: Joins,
        targets: DialTargets,
        clock: Clock,
        tells_why: bool,
    ) -> None:
        self._prober = prober
        self._tells_why = tells_why
        self._membership = membership
        self._joins = joins
        self._targets = targets
        self._clock = clock
        self._limits = DialLimits()
        self._flights: dict[str, _Flight] = {}

    def is_under_way(self, instance_id: str) -> bool:
        """Return whether the instance is being dialled back now."""
        return instance_id in self._flights

    async def dial_back(self, instance_id: str, peer: str) -> DialBackFailed | ReadyAck | None:
        """Dial the instance at its address; it becomes ready for others when it responds with 200.

        A dial-back to the same address that is under way counts for this one too. None: the row is gone,
        or another's, or has another address by now. Raises TooMany.
        """
        while True:
            holder, row = self._joins.holders.get(instance_id), self._membership.get(instance_id)
            if holder is None or row is None:
                return None
            if row.state is State.READY and holder.proven == row.address:
                return ReadyAck()
            flight = self._flights.get(instance_id)
            if flight is None:
                return await self._fly(row, holder, peer)
            await asyncio.wait([flight.outcome])
            is_same = flight.address == row.address and flight.tenure is holder.tenure
            if is_same and not flight.outcome.cancelled():
                return flight.outcome.result()

    async def probe(self, instance: Instance, timeout: float) -> ProbeOutcome:
        """Probe an instance that is in the table.

        A stranger's is probed where it has responded: its name may mean another address by now. That it
        has also tells that it is no port of somebody else, whose broken connections would say nothing.
        """
        holder = self._joins.holders.get(instance.id)
        if holder is None or holder.is_trusted:
            return await self._prober.probe(instance, timeout)
        has_responded = holder.proven == instance.address
        address = (holder.target if has_responded else None) or instance.address
        outcome, _ = await self._ask_stranger(instance, address, timeout, is_retried=has_responded)
        return outcome

    async def _fly(self, row: Instance, holder: Holder, peer: str) -> DialBackFailed | ReadyAck | None:
        flight = _Flight(row.address, holder.tenure, asyncio.get_running_loop().create_future())
        self._flights[row.id] = flight
        try:
            async with self._limits.slot(holder.peer, is_trusted=holder.is_trusted):
                outcome = await self._dial(row, holder, peer)
            flight.outcome.set_result(outcome)
            return outcome
        finally:
            flight.outcome.cancel()  # no effect on one that is done
            del self._flights[row.id]

    async def _dial(self, row: Instance, holder: Holder, peer: str) -> DialBackFailed | ReadyAck | None:
        began = self._clock.monotonic()
        target = None
        if holder.is_trusted:
            found = await self._prober.probe(row, DIAL_BACK_TIMEOUT)
        else:
            found, target = await self._ask_stranger(row, row.address, DIAL_BACK_TIMEOUT)
        if not found.is_ready and not self._tells_why:
            await asyncio.sleep(FAILURE_TIME - (self._clock.monotonic() - began))
        now = self._joins.holders.get(row.id)
        if now is None or now.tenure is not holder.tenure or not self._is_at(row.id, row.address):
            return None
        if found.is_ready:
            now.proven, now.target = row.address, target
            self._joins.admit(row.id)
            return ReadyAck()
        return self._failed(row, peer, found)

    async def _ask_stranger(
        self, row: Instance, address: str, timeout: float, *, is_retried: bool = False
    ) -> tuple[ProbeOutcome, str | None]:
        """Dial `address` if a stranger may announce it; return what was found, and what was dialled."""
        target = None
        try:
            async with asyncio.timeout(timeout):
                target = await self._targets.resolve(address)
                dialled = row.model_copy(update={"address": target})
                return await self._prober.probe(dialled, timeout, is_retried=is_retried), target
        except NotAllowedError as error:
            return ProbeOutcome(ProbeResult.SILENT, str(error)), None
        except TimeoutError:
            return ProbeOutcome(ProbeResult.SILENT, f"no response within {timeout} s"), target

    def _failed(self, row: Instance, peer: str, found: ProbeOutcome) -> DialBackFailed:
        """Return what the joiner learns; the whole reason is in our log."""
        why = found.why
        if found.result is not ProbeResult.ANSWERED:  # otherwise the address is right
            why = f"{why}; {advice(row.address, peer)}"
        log.warning("instance.dial_back_failed", id=row.id, tried=row.address, peer=peer, reason=why)
        if not self._tells_why:
            why = f"{NOT_REACHABLE}; {advice(row.address, peer)}; {_RULE}"
        return DialBackFailed(tried=row.address, why=why)

    def _is_at(self, instance_id: str, address: str) -> bool:
        row = self._membership.get(instance_id)
        return row is not None and row.address == address

    def __repr__(self) -> str:
        """Show which instances are being dialled."""
        return f"<DialBacks of {', '.join(self._flights) or 'no instance'}>"
