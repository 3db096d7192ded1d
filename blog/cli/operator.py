"""`blog posts delete ID...`: an operator command, sent to an instance of the service that offers it.

Each order has an idempotency key, so that it is carried out once however often it has to be sent.
"""

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Any, NamedTuple

import aiohttp
import click
from pydantic import TypeAdapter

from blog.cli.locate import LocatedInstance, instances_of, problem_detail, registries
from blog.core.errors import SettingsError
from blog.core.ids import new_id
from blog.core.net.http_client import client_session, read_response
from blog.core.operator import PATH, OperatorReport, OperatorRequest
from blog.core.output import say
from blog.core.printable import printable
from blog.core.settings import Settings, load
from blog.core.web import IDEMPOTENCY_HEADER, INSTANCE_HEADER, bearer
from blog.master.ports import known_token

_TIMEOUT = aiohttp.ClientTimeout(total=10, sock_connect=2)
_PROBE_TIMEOUT = aiohttp.ClientTimeout(total=3)
_ROUNDS = 2  # attempts per instance
_ELSEWHERE = (HTTPStatus.MISDIRECTED_REQUEST, HTTPStatus.SERVICE_UNAVAILABLE)
_REPEATED = "done (an earlier attempt had no response)"
_COMMANDS = TypeAdapter(dict[str, str])
_SHOWN = 60  # characters of each text of a preview


class OperatorRefusal(Exception):
    """An order was not carried out; the message says why."""


class OperatorResult(NamedTuple):
    """A report; `is_repeated` is true if an earlier attempt had no response, and may have done it."""

    report: OperatorReport
    is_repeated: bool


def carry_out(service: str, command: str, ids: Sequence[str], reason: str | None, *, yes: bool) -> int:
    """Apply the command to each of `ids`; return 0, or 1 if it was not done to all. Asks unless `yes`.

    Raises SettingsError if it cannot ask, or no instance offers the command.
    """
    if not yes and not sys.stdin.isatty():
        raise SettingsError(
            f"`{service} {command}` asks for confirmation, and there is no terminal: add --yes."
        )
    orders = [OperatorRequest.model_construct(id=id_, reason=reason) for id_ in dict.fromkeys(ids)]
    are_known = True
    if not yes:
        # in an event loop of its own: in a running one the first Ctrl-C does not end a prompt
        reports = asyncio.run(_send_all(service, command, [_preview(order) for order in orders]))
        are_known = None not in reports
        orders = list(_bind_to_preview(orders, reports))
        if orders and not _is_confirmed(command, len(orders)):
            say("Nothing was done.")
            return 1
    done = asyncio.run(_send_all(service, command, orders)) if orders else []
    return 0 if are_known and None not in done else 1


def _preview(order: OperatorRequest) -> OperatorRequest:
    return order.model_copy(update={"dry_run": True})


def _bind_to_preview(
    orders: Sequence[OperatorRequest], reports: Sequence[OperatorReport | None]
) -> Iterator[OperatorRequest]:
    """Yield the orders that would change something, bound to what was shown: not to later changes."""
    for order, report in zip(orders, reports, strict=True):
        if report is not None and report.changed:
            yield order.model_copy(update={"seen": report.seen})


def _is_confirmed(command: str, count: int) -> bool:
    those = "this" if count == 1 else f"these {count}"
    return click.confirm(f"{command.capitalize()} {those}?")


async def _send_all(
    service: str, command: str, orders: Sequence[OperatorRequest]
) -> list[OperatorReport | None]:
    """Send the orders one after the other; None stands for one that was refused."""
    async with _operator(service, command) as operator:
        return [await _send(operator, order) for order in orders]


async def _send(operator: "OperatorClient", order: OperatorRequest) -> OperatorReport | None:
    """Send an order, and print a line with the result; return None if it was refused."""
    name = printable(order.id, _SHOWN)
    try:
        result = await operator.send(order)
    except OperatorRefusal as refused:
        say(f"{name}: {printable(str(refused))}", err=True)
        return None
    say(f"{name}: {_result_line(operator.command, order, result)}")
    return result.report


def _result_line(command: str, order: OperatorRequest, result: OperatorResult) -> str:
    report = result.report
    if not report.changed:
        is_ours = result.is_repeated and not order.dry_run
        return f"{command}: {_REPEATED if is_ours else 'already done'}"
    if order.dry_run:
        return "; ".join(described(report.before))
    return f"{command}: done, event {report.sequence}"


class OperatorClient(NamedTuple):
    """Sends orders to the instances that offer one command of a service."""

    http: aiohttp.ClientSession
    command: str
    instances: list[LocatedInstance]

    async def send(self, order: OperatorRequest) -> OperatorResult:
        """Send one order until an instance responds. Raises OperatorRefusal."""
        headers = {IDEMPOTENCY_HEADER: new_id(), "Content-Type": "application/json"}
        order_body = json.dumps(
            order.model_dump()
        )  # invalid UTF-8 is sent as well: the service refuses it
        failure = ""
        is_repeated = False
        for instance in self.instances * _ROUNDS:
            try:
                status, body = await _request(
                    self.http,
                    "POST",
                    instance,
                    f"{PATH}/{self.command}",
                    headers=headers,
                    data=order_body,
                )
                if status == HTTPStatus.OK:
                    return OperatorResult(_report(body), is_repeated)
            except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
                failure = str(error)  # it was never sent
            except (aiohttp.ClientError, TimeoutError, OSError, _Unreadable) as error:
                failure = str(error) or type(error).__name__
                is_repeated = True
            else:
                failure = problem_detail(status, body)
                if status not in _ELSEWHERE:
                    break
        raise OperatorRefusal(failure)


class _Unreadable(Exception):
    """A response with status 200 that is not a report."""


def _report(body: bytes) -> OperatorReport:
    try:
        return OperatorReport.model_validate_json(body)
    except ValueError:
        raise _Unreadable("its response is not a report: another program or version") from None


@asynccontextmanager
async def _operator(service: str, command: str) -> AsyncIterator[OperatorClient]:
    """Find the instances that offer `command`. Raises SettingsError that says what to do if none does."""
    settings = load(Settings)
    token = bearer(settings.secret or known_token(settings.data_dir))
    async with client_session(headers=token, timeout=_TIMEOUT) as http:
        found = await instances_of(service, http, settings)
        if not found:
            raise SettingsError(
                f"No instance of {service} runs in {settings.data_dir} (BLOG_DATA_DIR), and no registry"
                f" at {', '.join(registries(settings))} (BLOG_REGISTRY) knows a ready one."
            )
        offers = await asyncio.gather(*(_offer(http, instance, service, command) for instance in found))
        able = [instance for instance, failure in zip(found, offers, strict=True) if not failure]
        if not able:
            raise SettingsError(
                f"No running instance of {service} offers {command}: {'; '.join(dict.fromkeys(offers))}."
            )
        yield OperatorClient(http, command, able)


async def _offer(
    http: aiohttp.ClientSession, instance: LocatedInstance, service: str, command: str
) -> str:
    """Return why an instance cannot be sent `command`; "" if it can."""
    try:
        status, body = await _request(http, "GET", instance, PATH, timeout=_PROBE_TIMEOUT)
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        return f"{instance.id} does not respond ({str(error) or type(error).__name__})"
    older = f"they run another version; run `blog rollout {service}`"
    if status == HTTPStatus.NOT_FOUND:
        return older
    if status != HTTPStatus.OK:
        return problem_detail(status, body).rstrip(".")
    try:
        commands = _COMMANDS.validate_json(body)
    except ValueError:
        return f"the response of {instance.id} is not a list of commands: another program or version"
    return "" if command in commands else older


async def _request(
    http: aiohttp.ClientSession, method: str, instance: LocatedInstance, path: str, **options: Any
) -> tuple[int, bytes]:
    headers = {INSTANCE_HEADER: instance.id, **options.pop("headers", {})}
    async with http.request(
        method, instance.url + path, headers=headers, allow_redirects=False, **options
    ) as response:
        return response.status, await read_response(response)


def described(before: Any) -> Iterator[str]:
    """Yield the texts of a thing by name, shortened, without ids and times."""
    for name, value in before.items() if isinstance(before, Mapping) else ():
        if isinstance(value, str) and value and not name.endswith(("id", "_at")):
            yield f"{name}: {printable(value, _SHOWN)}"
