"""Reactions: events in, outcomes and what follows out. Taking effect once is the bus's business.

Ids of what follows are derived from the cause, so that a second run makes the same events.
"""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from blog.core.clock import Clock
from blog.core.contract import Reaction, Service
from blog.core.errors import DomainError, Unavailable
from blog.core.events import Envelope, Event, is_later
from blog.core.ids import derived_id
from blog.core.logs import get_logger
from blog.core.reactions import (
    DeliveryRequest,
    DeliveryResponse,
    Outcome,
    ReceivedDelivery,
    Result,
    UnreadableEnvelope,
)
from blog.core.settings import ServiceSettings
from blog.core.view import View
from blog.runtime.view.host import ViewHost

_VIEW_TIMEOUT = 5.0  # seconds that the reactions of one batch wait for the view to have the causes
log = get_logger()


class ReactionRunner:
    """Runs the reactions of one service."""

    def __init__(
        self, service: Service, clock: Clock, settings: ServiceSettings | None, view: ViewHost | None
    ) -> None:
        self._service = service
        self._clock = clock
        self._view = view
        self._skipped: set[str] = set()
        self._calls = {
            kind: _ReactionCall.of(reaction, settings) for kind, reaction in service.reactions.items()
        }

    async def handle(self, delivery: DeliveryRequest | ReceivedDelivery) -> DeliveryResponse:
        """React to each event in order; once one has to be retried, the later ones of its key wait.

        The view is waited for once, not for each event: the bus waits as well.
        """
        results: list[Result] = []
        waiting: set[str] = set()
        deadline = self._clock.monotonic() + _VIEW_TIMEOUT
        for cause in delivery.events:
            if cause.subject in waiting:
                results.append(_retry(cause, "an earlier event comes first"))
                continue
            if isinstance(cause, UnreadableEnvelope):
                result = _retry(cause, cause.reason)
            else:
                result = await self._react(cause, deadline)
            results.append(result)
            if result.outcome is Outcome.RETRY:
                waiting.add(cause.subject)
        return DeliveryResponse(results=tuple(results))

    async def _react(self, cause: Envelope, deadline: float) -> Result:
        call = self._calls.get(cause.type)
        if call is None:
            return self._skip(cause)
        if is_later(cause, call.event):
            return _retry(cause, f"needs a newer instance: this one reads version {call.event.version}")
        try:
            following = await self._run(call, cause, deadline)
        except Unavailable as error:
            return _retry(cause, error.detail)
        except (DomainError, ValidationError) as error:
            log.warning("reaction.dead", type=cause.type, id=cause.id, reason=str(error))
            return Result(id=cause.id, outcome=Outcome.DEAD, reason=str(error))
        except Exception as error:
            log.exception("reaction.failed", type=cause.type, id=cause.id)
            return _retry(cause, f"{type(error).__name__}: {error}")
        return Result(id=cause.id, outcome=Outcome.DONE, events=self._wrapped(cause, following))

    def _skip(self, cause: Envelope) -> Result:
        """Skip a type that only another version of the service reacts to; logged once per type."""
        if cause.type not in self._skipped:
            self._skipped.add(cause.type)
            log.warning("event.skipped", type=cause.type, id=cause.id, reason="nothing reacts to it here")
        return Result(id=cause.id, outcome=Outcome.DONE)

    async def _run(self, call: "_ReactionCall", cause: Envelope, deadline: float) -> list[Event]:
        event = call.event.model_validate(cause.data)
        if call.takes_view:
            outcome = await self._with_view(call, cause, event, deadline)
        else:
            outcome = call.handler(event, **call.arguments)
        if inspect.isawaitable(outcome):
            outcome = await outcome
        if isinstance(outcome, Event):
            return [outcome]
        return list(outcome or ())

    async def _with_view(
        self, call: "_ReactionCall", cause: Envelope, event: Event, deadline: float
    ) -> Any:
        left = max(0.0, deadline - self._clock.monotonic())
        if self._view is None or not await self._view.wait_for(cause.sequence or 0, left):
            raise Unavailable("the view has not caught up with the cause")
        return await self._view.read(lambda view: call.handler(event, view=view, **call.arguments))

    def _wrapped(self, cause: Envelope, following: list[Event]) -> tuple[Envelope, ...]:
        return tuple(
            Envelope.of(
                event,
                # with the service in it, so that two services that react to one event do not collide
                id=derived_id("reaction", self._service.name, cause.id, position),
                service=self._service.name,
                time=self._clock.now(),
                traceparent=cause.traceparent,
                causationid=cause.id,
            )
            for position, event in enumerate(following)
        )


@dataclass(frozen=True, slots=True)
class _ReactionCall:
    """A reaction and how to call it, worked out once from its signature."""

    event: type[Event]
    handler: Callable[..., Any]
    takes_view: bool
    arguments: dict[str, Any]

    @staticmethod
    def of(reaction: Reaction, settings: ServiceSettings | None) -> "_ReactionCall":
        """Work out what a reaction takes beside the event."""
        parameters = list(inspect.signature(reaction.handler, eval_str=True).parameters.values())
        kinds = {
            item.name: item.annotation for item in parameters[1:] if isinstance(item.annotation, type)
        }
        return _ReactionCall(
            event=reaction.event,
            handler=reaction.handler,
            takes_view=any(issubclass(kind, View) for kind in kinds.values()),
            arguments={
                name: settings for name, kind in kinds.items() if issubclass(kind, ServiceSettings)
            },
        )


def _retry(cause: Envelope | UnreadableEnvelope, reason: str) -> Result:
    return Result(id=cause.id, outcome=Outcome.RETRY, reason=reason)
