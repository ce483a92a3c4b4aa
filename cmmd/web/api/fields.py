"""Name the field of a request that an error of the fleet is about; below the API there are no fields."""

from collections.abc import Iterator, Mapping
from typing import Any, get_args

from msgspec.structs import fields

from cmmd.fleet.errors import BadArgument, refusal
from cmmd.web.api.operation import Operation
from cmmd.web.http.problems import WrongField

__all__ = ["ABOUT", "with_field"]

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
"""What a code is about, wherever in a request that stands. A ``bad_argument`` says so itself: ``name: what``."""


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
