"""The operator API of an instance: it runs the commands of the operator of the blog, and logs them.

They are decided and checked by the log as any command is; a dry run appends nothing. The gateway never
routes here, and `AccessPolicy` decides who may call it.
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
from blog.core.operator import PATH, OperatorCommand, OperatorReport, OperatorRequest
from blog.core.web import parsed, read_body
from blog.runtime.binding import REASON, ArgumentSource, Binding, bind_operator
from blog.runtime.commands import as_decision
from blog.runtime.handler_context import HandlerContext, command_request_of

JSON_TYPE = "application/json"

log = get_logger()


class OperatorAPI:
    """The operator commands of one service, as HTTP."""

    def __init__(self, context: HandlerContext) -> None:
        self._context = context
        self._commands = {
            name: (command, bind_operator(command)) for name, command in context.service.operators.items()
        }

    def routes(self) -> list[web.RouteDef]:
        """Return the routes to mount; a service without operator commands lists none."""
        return [web.get(PATH, self._list), web.post(f"{PATH}/{{command}}", self._run)]

    async def _list(self, _: web.Request) -> web.Response:
        self._context.must_be_open()
        return web.json_response({name: command.summary for name, (command, _) in self._commands.items()})

    async def _run(self, request: web.Request) -> web.Response:
        self._context.must_be_open()
        command, binding = self._find(request.match_info["command"])
        body = await read_body(request, JSON_TYPE)
        operation = parsed(OperatorRequest, body)
        _check_id(command, binding, operation)
        command_request = command_request_of(request, body)
        decide = partial(self._decide, command, binding, operation)
        if operation.dry_run:
            preview = await self._context.commands.preview(command_request, decide, self._catch_up)
            return _response(_preview_report(preview))
        report = _report_of(await self._context.commands.run(command_request, decide, self._catch_up))
        log.info(
            "operator.done",
            command=command.name,
            id=operation.id,
            reason=operation.reason,
            changed=report.changed,
            sequence=report.sequence,
            peer=request.remote,
            request_id=command_request.request_id,
        )
        return _response(report)

    def _find(self, name: str) -> tuple[OperatorCommand, Binding]:
        found = self._commands.get(name)
        if found is None:
            known = ", ".join(self._commands) or "none"
            raise NotFound(f"There is no operator command {name!r} here; there are: {known}.")
        return found

    @property
    def _catch_up(self) -> Any:
        return self._context.view.catch_up if self._context.view else None

    async def _decide(
        self, command: OperatorCommand, binding: Binding, operation: OperatorRequest, meta: Meta
    ) -> Append | Unchanged:
        query = {} if operation.reason is None else {REASON: operation.reason}
        given = {ArgumentSource.META: meta}
        decision = as_decision(
            await self._context.call_with(binding, {command.subject: operation.id}, query, given)
        )
        # within the decision, so that one that is made again is checked again
        if (
            operation.seen is not None
            and isinstance(decision, Append)
            and _fingerprint(decision) != operation.seen
        ):
            raise Conflict("It changed since you looked at it; look again.")
        return decision


def _check_id(command: OperatorCommand, binding: Binding, operation: OperatorRequest) -> None:
    """Raise NotFound if nothing can have such an id."""
    subject = next(item for item in binding.parameters if item.name == command.subject)
    assert subject.adapter is not None
    try:
        subject.adapter.validate_strings(operation.id)
    except ValidationError:
        raise NotFound("There is nothing with this id: it is not one that this blog makes.") from None


def _preview_report(decision: Append | Unchanged) -> OperatorReport:
    """Return what a decision would append."""
    if isinstance(decision, Unchanged):
        return OperatorReport(changed=False, sequence=decision.sequence)
    return OperatorReport(
        changed=True,
        events=tuple(event.type for event in decision.events),
        before=pydantic_core.to_jsonable_python(decision.before),
        seen=_fingerprint(decision),
    )


def _report_of(outcome: Written | Unchanged) -> OperatorReport:
    if isinstance(outcome, Unchanged):
        return OperatorReport(changed=False, sequence=outcome.sequence)
    types = tuple(event.type for event in outcome.events)
    return OperatorReport(changed=True, sequence=outcome.sequence, events=types)


def _fingerprint(decision: Append) -> str:
    """Identify what a decision changes and how: equal fingerprints mean equal changes.

    The data of the events is left out: their ids and times differ each time.
    """
    types = [event.type for event in decision.events]
    return sha256_hex(pydantic_core.to_json([types, decision.before]).decode())


def _response(report: OperatorReport) -> web.Response:
    return web.Response(text=report.model_dump_json(), content_type=JSON_TYPE)
