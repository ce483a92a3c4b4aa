"""The context that operations of the API work with: parts of the daemon, shared parameters, fields of errors."""

from collections.abc import Callable, Iterator, Mapping
from typing import Annotated, Any, Literal, get_args

from msgspec import Meta, Struct
from msgspec.structs import fields
from twisted.internet.defer import DeferredSemaphore
from twisted.internet.interfaces import IReactorTime

from cmmd.controllers.catalog import Catalog
from cmmd.fleet.errors import BadArgument, refusal
from cmmd.fleet.service.operations import ControlService
from cmmd.fleet.service.sign_in_links import SignInLinks
from cmmd.web.api.event_broker import EventBroker
from cmmd.web.api.keys import Keys
from cmmd.web.api.operation import Encoded, Operation
from cmmd.web.http.access import Access
from cmmd.web.http.cooperative import CooperativeScheduler
from cmmd.web.http.problems import WrongField

__all__ = ["ABOUT", "After", "ApiContext", "Limit", "Moment", "Order", "Search", "with_field"]


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
