"""Ownership: whose an instance id is. An id belongs to who brought it for as long as its row is there.

Pure. Who joins under the id of somebody else is refused, and the first one is untouched.
"""

import hmac
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias, TypeVar

ROWS_OF_STRANGER = 1_000
"""Instances that one address may have in the table where nobody vouches for it."""
ROWS_OF_STRANGERS = 10_000
"""Instances of all such addresses."""
BYTES_OF_STRANGER = 2 << 20
"""Bytes of all rows of one such address; each follower holds them."""
BYTES_OF_STRANGERS = 16 << 20
"""Bytes of the rows of all such addresses."""
ROUTES_OF_STRANGER = 1_000
"""Routes that one such address may declare; what instances of a service declare alike counts once."""
ROUTES_OF_STRANGERS = 5_000
"""Routes of all such addresses."""


_Declaring: TypeAlias = tuple[str, str, bytes]
_T = TypeVar("_T")


@dataclass(slots=True, eq=False, kw_only=True)
class Holder:
    """Who holds an id: the address that it joined from, and what proves that it is the same process.

    `is_trusted`: its claims count (`AccessPolicy.is_trusted`). `size` is that of its row, in bytes;
    `routes` is how many its row declares, `declared` a digest of those.
    `proven` is the address at which the instance has responded to a dial-back, `target` what that meant
    then, if it is a name. `tenure` is the same object for as long as the id does not change hands.
    """

    service: str
    peer: str
    is_trusted: bool
    key: str | None = field(default=None, repr=False)
    is_lease: bool = False
    size: int = 0
    routes: int = 0
    declared: bytes = field(default=b"", repr=False)
    proven: str | None = None
    target: str | None = None
    tenure: object = field(default_factory=object)

    @property
    def declaring(self) -> "_Declaring":
        """Who declares which routes: alike for all instances of a service at one address."""
        return self.peer, self.service, self.declared

    def succeed(self, held: "Holder") -> None:
        """Take over from `held`; the tenure goes on if it is the same process, or a renewed lease."""
        self.proven, self.target = held.proven, held.target
        is_renewed = self.is_lease and held.is_lease
        if is_renewed or self.is_same_process(held.key) or (self.key, self.peer) == (held.key, held.peer):
            self.tenure = held.tenure

    def is_same_process(self, key: str | None) -> bool:
        """Return whether `key` is the one that this holder joined with."""
        if self.key is None or key is None:
            return False
        return hmac.compare_digest(self.key.encode(), key.encode())


def why_not_session(held: Holder, joiner: Holder, *, is_own: bool, is_silent: bool | None) -> str | None:
    """Return why the session of `joiner` may not have an id that is held; None if it may.

    `is_own`: that session holds it already. `is_silent`: whether the session that holds it has been
    silent for longer than its heartbeats allow; None: no session is open.
    """
    if held.service != joiner.service:
        return "this id belongs to an instance of another service"
    if held.is_lease:
        return "this id belongs to a lease (PUT /v1/services)"
    if is_own or held.is_same_process(joiner.key):
        return None
    if held.key is not None:
        return "this id belongs to another process until that is lost"
    # a version that sends no key: its connection broke, or is half open, and it is back
    if is_silent or (is_silent is None and (joiner.is_trusted or joiner.peer == held.peer)):
        return None
    return "this id belongs to another session while that lives"


def why_not_lease(held: Holder, joiner: Holder) -> str | None:
    """Return why a PUT of `joiner` may not have an id that is held; None if it may."""
    if held.service != joiner.service:
        return "this id belongs to an instance of another service"
    if not held.is_lease:
        return "this id belongs to an instance with a session"
    if not joiner.is_trusted and joiner.peer != held.peer:
        return "this lease belongs to another address"
    return None


class _Usage(NamedTuple):
    """What strangers take up of one kind; `amount` is what one more row would add to it."""

    by_peer: Counter[str]
    amount: int
    of_stranger: int
    of_strangers: int


class Holders:
    """The holder of each id whose row `is_there`."""

    def __init__(self, is_there: Callable[[str], bool]) -> None:
        self._is_there = is_there
        self._by_id: dict[str, Holder] = {}
        self._rows, self._bytes, self._routes = Counter[str](), Counter[str](), Counter[str]()
        self._declaring: Counter[_Declaring] = Counter()

    def get(self, instance_id: str) -> Holder | None:
        """Return who holds an id; None if its row is gone."""
        holder = self._by_id.get(instance_id)
        if holder is not None and not self._is_there(instance_id):
            self.drop(instance_id)
            return None
        return holder

    def put(self, instance_id: str, holder: Holder) -> None:
        """Make `holder` the holder of an id."""
        self.drop(instance_id)
        self._by_id[instance_id] = holder
        self._count(holder, 1)

    def drop(self, instance_id: str) -> None:
        """Forget who holds an id, if anybody does."""
        holder = self._by_id.pop(instance_id, None)
        if holder is not None:
            self._count(holder, -1)

    def why_full(self, joiner: Holder, held: Holder | None) -> str | None:
        """Return why there is no space for the row of `joiner`, which takes the place of `held`'s."""
        if joiner.is_trusted:
            return None
        replaced = held if held is not None and not held.is_trusted and held.peer == joiner.peer else None
        usages = self._usages(joiner, replaced)
        if any(one.by_peer[joiner.peer] + one.amount > one.of_stranger for one in usages):
            return "your address has as many instances here as it may have without a token"
        if any(one.by_peer.total() + one.amount > one.of_strangers for one in usages):
            return "there are as many instances here as there may be without a token"
        return None

    def _usages(self, joiner: Holder, replaced: Holder | None) -> tuple[_Usage, ...]:
        rows, size, routes = 1, joiner.size, self._new_routes(joiner)
        if replaced is not None:
            rows, size = 0, size - replaced.size
            is_last = self._declaring[replaced.declaring] == 1
            if is_last and replaced.declaring != joiner.declaring:
                routes -= replaced.routes
        return (
            _Usage(self._rows, rows, ROWS_OF_STRANGER, ROWS_OF_STRANGERS),
            _Usage(self._bytes, size, BYTES_OF_STRANGER, BYTES_OF_STRANGERS),
            _Usage(self._routes, routes, ROUTES_OF_STRANGER, ROUTES_OF_STRANGERS),
        )

    def _new_routes(self, holder: Holder) -> int:
        """Return how many routes a row adds: what instances of one service declare alike counts once."""
        return 0 if self._declaring[holder.declaring] else holder.routes

    def _count(self, holder: Holder, sign: int) -> None:
        if holder.is_trusted:
            return
        if sign < 0:
            _add(self._declaring, holder.declaring, -1)
        routes = self._new_routes(holder)
        if sign > 0:
            _add(self._declaring, holder.declaring, 1)
        for counter, amount in ((self._rows, 1), (self._bytes, holder.size), (self._routes, routes)):
            _add(counter, holder.peer, sign * amount)

    def __repr__(self) -> str:
        """Show how many there are."""
        return f"<Holders of {len(self._by_id)} ids>"


def _add(counter: Counter[_T], key: _T, amount: int) -> None:
    """Add, and keep nothing for what counts nothing."""
    counter[key] += amount
    if counter[key] <= 0:
        del counter[key]
