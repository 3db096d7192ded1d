"""The operator API of an instance: it carries out what the operator of the blog decides, and logs it.

An order is decided, checked by the log and answered as any command is; a dry run appends nothing. The
gateway never leads here, and `must_be_operator` is the one place that says who may come.
"""

from functools import partial
from typing import Any

import pydantic_core
from aiohttp import web
from pydantic import ValidationError

from blog.core.contract import Meta
from blog.core.decision import Append, Unchanged, Written
from blog.core.errors import Conflict, NotFound
from blog.core.ids import sha256_hex
from blog.core.logs import get_logger
from blog.core.operator import PATH, OperatorCommand, Order, Report
from blog.core.web import must_be_operator, parsed, read_body
from blog.runtime.binding import REASON, ArgumentSource, Binding, bind_operator
from blog.runtime.commands import as_decision
from blog.runtime.handler_context import HandlerContext, command_request

JSON_TYPE = "application/json"

log = get_logger()


class OperatorAPI:
    """The operator commands of one service, as HTTP."""

    def __init__(self, host: HandlerContext) -> None:
        self._host = host
        self._commands = {
            name: (command, bind_operator(command)) for name, command in host.service.operators.items()
        }

    def routes(self) -> list[web.RouteDef]:
        """Return the routes to mount; of a service without any, the empty list is one of them."""
        return [web.get(PATH, self._list), web.post(f"{PATH}/{{command}}", self._carry_out)]

    async def _list(self, request: web.Request) -> web.Response:
        must_be_operator(request.headers)
        self._host.must_be_open()
        return web.json_response({name: command.summary for name, (command, _) in self._commands.items()})

    async def _carry_out(self, request: web.Request) -> web.Response:
        must_be_operator(request.headers)
        self._host.must_be_open()
        command, binding = self._find(request.match_info["command"])
        body = await read_body(request, JSON_TYPE)
        order = parsed(Order, body)
        _must_be_an_id(command, binding, order)
        asked = command_request(request, body)
        decide = partial(self._decide, command, binding, order)
        if order.dry_run:
            preview = await self._host.commands.preview(asked, decide, self._catch_up)
            return _answer(_foreseen(preview))
        report = _reported(await self._host.commands.run(asked, decide, self._catch_up))
        log.info(
            "operator.done",
            command=command.name,
            id=order.id,
            reason=order.reason,
            changed=report.changed,
            sequence=report.sequence,
            peer=request.remote,
            request_id=asked.request_id,
        )
        return _answer(report)

    def _find(self, name: str) -> tuple[OperatorCommand, Binding]:
        found = self._commands.get(name)
        if found is None:
            known = ", ".join(self._commands) or "none"
            raise NotFound(f"There is no operator command {name!r} here; there are: {known}.")
        return found

    @property
    def _catch_up(self) -> Any:
        return self._host.view.catch_up if self._host.view else None

    async def _decide(
        self, command: OperatorCommand, binding: Binding, order: Order, meta: Meta
    ) -> Append | Unchanged:
        query = {} if order.reason is None else {REASON: order.reason}
        given = {ArgumentSource.META: meta}
        decision = as_decision(
            await self._host.call_with(binding, {command.subject: order.id}, query, given)
        )
        # within the decision, so that one that is made again is checked again
        if order.seen is not None and isinstance(decision, Append) and _seen(decision) != order.seen:
            raise Conflict("It changed since you looked at it; look again.")
        return decision


def _must_be_an_id(command: OperatorCommand, binding: Binding, order: Order) -> None:
    """Raise NotFound where nothing can have such an id."""
    subject = next(item for item in binding.parameters if item.name == command.subject)
    assert subject.adapter is not None
    try:
        subject.adapter.validate_strings(order.id)
    except ValidationError:
        raise NotFound("There is nothing with this id: it is not one that this blog makes.") from None


def _foreseen(decision: Append | Unchanged) -> Report:
    """Tell what a decision would append."""
    if isinstance(decision, Unchanged):
        return Report(changed=False, sequence=decision.sequence)
    return Report(
        changed=True,
        events=tuple(event.type for event in decision.events),
        before=pydantic_core.to_jsonable_python(decision.before),
        seen=_seen(decision),
    )


def _reported(outcome: Written | Unchanged) -> Report:
    if isinstance(outcome, Unchanged):
        return Report(changed=False, sequence=outcome.sequence)
    types = tuple(event.type for event in outcome.events)
    return Report(changed=True, sequence=outcome.sequence, events=types)


def _seen(decision: Append) -> str:
    """Name what a decision changes and how, so that two of these are the same only if that is.

    What the events hold is left out: their own ids and times are others each time.
    """
    types = [event.type for event in decision.events]
    return sha256_hex(pydantic_core.to_json([types, decision.before]).decode())


def _answer(report: Report) -> web.Response:
    return web.Response(text=report.model_dump_json(), content_type=JSON_TYPE)
