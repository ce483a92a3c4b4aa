"""The context that operations of the API work with: parts of the daemon, idempotency keys, shared parameters."""

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Annotated, Any, Literal, get_args

from msgspec import Meta, Struct
from msgspec.structs import fields
from twisted.internet.defer import Deferred, DeferredSemaphore
from twisted.internet.interfaces import IReactorTime

from cmmd.controllers.catalog import Catalog
from cmmd.fleet.errors import BadArgument, refusal
from cmmd.fleet.service.operations import ControlService
from cmmd.fleet.service.sign_in_links import SignInLinks
from cmmd.web.api.event_broker import EventBroker
from cmmd.web.api.operation import Encoded, Operation
from cmmd.web.http.access import Access
from cmmd.web.http.problems import Refused, WrongField
from cmmd.web.http.streaming_body import CooperativeScheduler

__all__ = [
    "ABOUT",
    "KEPT_S",
    "MOST_KEYS",
    "MOST_OF_ONE",
    "After",
    "ApiContext",
    "Keys",
    "Limit",
    "Moment",
    "Order",
    "Search",
    "Unkeyed",
    "with_field",
]

# --- idempotency keys ------------------------------------------------------------------------------------------------


KEPT_S = 600.0
"""Seconds that a key is remembered."""

MOST_KEYS = 10_000
"""Further ones are refused: one that is forgotten would be sent twice."""

MOST_OF_ONE = 1000
"""The same for one token: a user of many keys keeps no other from commanding."""


class Unkeyed(Refused):
    """A key cannot stand for this command; nothing was done."""


class _Asked:
    __slots__ = ("at", "number", "waiting", "what")

    def __init__(self, what: bytes, at: float) -> None:
        self.what = what
        self.at = at
        self.number: int | None = None
        self.waiting: list[Deferred[None]] = []


class Keys:
    """The requests of each idempotency key, for some minutes and until the daemon ends.

    :param clock: for the minutes.
    """

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._asked: OrderedDict[tuple[str, str], _Asked] = OrderedDict()

    async def once(self, who: str, key: str, what: bytes, do: Callable[[], Awaitable[int]]) -> tuple[int, bool]:
        """Have something done, if it has not been done under this key.

        :param who: keys of different people are different ones. :param what: what it is about, all of it.
        :param do: does it, and tells the number of the command; where it raises, nothing was sent.
        :return: the number, and whether it is of an earlier one.
        :raises Unkeyed: the key was used for something else, or there are too many.
        """
        self._forget()
        place = (who, key)
        asked = self._asked.get(place)
        while asked is not None:
            if asked.what != what:
                raise Unkeyed("key_used", "this key was used for another command", field="header.Idempotency-Key")
            if asked.number is not None:
                return asked.number, True
            known: Deferred[None] = Deferred()
            asked.waiting.append(known)
            await known
            asked = self._asked.get(place)  # gone, where it was refused
        if len(self._asked) >= MOST_KEYS or sum(one == who for one, _ in self._asked) >= MOST_OF_ONE:
            raise Unkeyed("too_many_requests", "too many keys are in use")
        asked = self._asked[place] = _Asked(what, self._clock.seconds())
        try:
            asked.number = await do()
        except BaseException:
            del self._asked[place]
            raise
        finally:
            for one in asked.waiting:
                one.callback(None)
        return asked.number, False

    def number(self, who: str, key: str) -> int | None:
        """Find the number of the command that was requested under this key; None: none is known to be accepted."""
        self._forget()
        asked = self._asked.get((who, key))
        return None if asked is None else asked.number

    def _forget(self) -> None:
        """Those that are too old; the oldest come first."""
        too_old = self._clock.seconds() - KEPT_S
        while self._asked:
            place, asked = next(iter(self._asked.items()))
            if asked.at >= too_old or asked.number is None:
                return
            del self._asked[place]


# --- the context -----------------------------------------------------------------------------------------------------


Limit = Annotated[int, Meta(ge=1, le=1000, description="Most records of this page.")]
Order = Literal["asc", "desc"]
Search = Annotated[str, Meta(max_length=100, description="Part of a hostid, a name or a model, in any case.")]
After = Annotated[str, Meta(max_length=200, description="`next` of the page before: where this one begins.")]
Moment = Annotated[int, Meta(ge=0, le=253_402_300_799_999, description="Milliseconds since 1970, UTC.")]


ABOUT: Mapping[str, str] = {
    "unknown_device": "hostid",
    "already_enrolled": "hostid",
    "no_such_alarm": "number",
    "no_such_command": "number",
    "no_such_point": "points",
    "unknown_command": "name",
    "bad_frame": "frames",
    "out_of_range": "frames",
    "bad_port": "port",
}
"""What a code is about, wherever in a request that is. A ``bad_argument`` says so itself: ``name: what``."""


def with_field(error: Exception, operation: Operation) -> Exception:
    """Name the field that an error is about; a bug stays as it is.

    :param error: the operation has raised it.
    """
    known = refusal(error)
    if known is None or known.field is not None:
        return known or error
    name, _, what = str(known).partition(": ")
    field = _field(name if isinstance(known, BadArgument) else ABOUT.get(known.code), operation)
    if field is not None and isinstance(known, BadArgument):
        return WrongField(field, what)
    known.field = field
    return known


def _field(name: str | None, operation: Operation) -> str | None:
    return next((f"{where}.{one}" for where, one in _inputs(operation) if one == name), None)


def _inputs(operation: Operation) -> Iterator[tuple[str, str]]:
    """All that a request may say, by where it says it."""
    for segment in operation.path.split("/"):
        if segment.startswith("{"):
            yield "path", segment[1:-1]
    for one in fields(operation.query):
        yield "query", one.name
    bodies: tuple[Any, ...] = () if operation.body is None else get_args(operation.body) or (operation.body,)
    for body in bodies:
        for one in fields(body):
            yield "body", one.name


class ApiContext(Struct, frozen=True, kw_only=True):
    """The parts of the daemon that operations of the API work with.

    :ivar desk: the operations. :ivar access: tokens and roles. :ivar catalog: the controller profiles.
    :ivar clock: for what waits; :ivar now: Unix time in seconds.
    :ivar feed: what is new. :ivar keys: commands that were requested with a key. :ivar pieces: for long work.
    :ivar scans: how many go through many readings at once.
    :ivar document: what the API is, in OpenAPI.
    :ivar links: those that sign a browser in once.
    """

    desk: ControlService
    access: Access
    catalog: Catalog
    clock: IReactorTime
    now: Callable[[], float]
    feed: EventBroker
    keys: Keys
    pieces: CooperativeScheduler
    scans: DeferredSemaphore
    document: Encoded
    links: SignInLinks
