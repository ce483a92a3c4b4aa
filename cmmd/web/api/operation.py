"""One operation of the API: a row of the table, a call of that operation, and its answer."""

from collections.abc import Awaitable, Callable, Mapping
from hashlib import blake2b
from typing import Any, Generic, Literal, TypeVar

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from cmmd.fleet.roles import Role
from cmmd.fleet.service.table import HTTP_CHANGES
from cmmd.web.http.access import Caller
from cmmd.web.http.streaming_body import StreamingBody

__all__ = ["JSON_TYPE", "PATCH_TYPE", "Answer", "Body", "Call", "Encoded", "Method", "NoQuery", "Operation", "Query"]
__all__ += ["NOT_RECORDED", "Streamed", "unrecorded"]

NOT_RECORDED = msgspec.Raw(b'{"recorded":false}')
"""The body of an answer to a change that has no result yet, since the store does not answer."""

JSON_TYPE = "application/json"
PATCH_TYPE = "application/merge-patch+json"
"""RFC 7396: what is left out stays, null removes it."""

Method = Literal["GET", "POST", "PUT", "PATCH", "DELETE"]

_Query = TypeVar("_Query")
_Body = TypeVar("_Body")


class Query(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The parameters behind the question mark, one a field."""


class NoQuery(Query, frozen=True):
    """A query without any parameter."""


class Body(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A request body as JSON."""


class Call(Struct, Generic[_Query, _Body], frozen=True, kw_only=True):
    """An operation is called.

    :ivar path: the value in the place of ``{hostid}`` and its like: a text, or a number where it is ``{number}``.
    :ivar accept: the media type that was chosen of those that the operation answers with.
    :ivar request: for what only few need: headers, cookies, who has gone.
    """

    caller: Caller
    path: Mapping[str, Any]
    query: _Query
    body: _Body
    accept: str
    request: Any

    @property
    def hostid(self) -> str:
        """The ``{hostid}`` of the path."""
        found: str = self.path["hostid"]
        return found

    @property
    def number(self) -> int:
        """The ``{number}`` of the path."""
        found: int = self.path["number"]
        return found


class Encoded(Struct, frozen=True):
    """JSON that is answered often, and its ETag."""

    text: bytes
    etag: str

    @classmethod
    def of(cls, body: object) -> "Encoded":
        """Encode a value as the answer."""
        text = msgspec.json.encode(body)
        return cls(text, f'"{blake2b(text, digest_size=12).hexdigest()}"')


class Answer(Struct, frozen=True, kw_only=True):
    """An answer that is sent at once.

    :ivar body: what becomes JSON, msgspec.Raw, or Encoded; None: nothing.
    """

    body: object = None
    status: int = 200
    headers: Mapping[str, str] = {}


def unrecorded(answer: Answer) -> Answer:
    """Mark the answer to a change that is not durable."""
    if answer.body is None:
        return replace(answer, body=NOT_RECORDED, status=202)
    return replace(answer, body={**msgspec.to_builtins(answer.body), "recorded": False})


class Streamed(Struct, frozen=True, kw_only=True):
    """An answer that is sent in parts.

    :ivar pour: writes all of it; whether it has ended well is seen by whether it raises.
    """

    pour: Callable[[StreamingBody], Awaitable[None]]
    media_type: str
    headers: Mapping[str, str] = {}


class Operation(Struct, frozen=True, kw_only=True):
    """A row of the table.

    :ivar name: its ``operationId``. :ivar tag: what it is about.
    :ivar role: who may; None: anybody, with a token or without.
    :ivar run: does it. Its first argument is what operations work with, see ``around.Around``.
    :ivar query: the parameters; :ivar body: what is sent; None: nothing is. :ivar takes: its media types.
    :ivar answers: what the body of an answer is, by status; None: it has none.
    :ivar media_types: of the first of them; what a request accepts chooses.
    :ivar errors: codes that it answers with, besides those that all have.
    :ivar etag: its answers have one, and If-None-Match is looked at.
    :ivar headers: of the request, that it looks at: names and what they mean.
    :ivar answer_headers: of the answer, the same, where what was requested was done; those that all have are not here.
    """

    name: str
    method: Method
    path: str
    tag: str
    role: Role | None
    summary: str
    run: Callable[[Any, Any], Awaitable[Answer | Streamed] | Answer | Streamed]
    query: type[Query] = NoQuery
    body: Any = None
    takes: tuple[str, ...] = (JSON_TYPE,)
    answers: Mapping[int, Any] = {}
    media_types: tuple[str, ...] = (JSON_TYPE,)
    errors: tuple[str, ...] = ()
    etag: bool = False
    headers: Mapping[str, str] = {}
    answer_headers: Mapping[str, str] = {}

    @property
    def changes(self) -> bool:
        """Tell whether it is answered when what it has changed is durable."""
        return self.name in HTTP_CHANGES
