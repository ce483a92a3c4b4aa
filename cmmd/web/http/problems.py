"""Answer errors as application/problem+json (RFC 9457), with stable codes of the daemon."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, ClassVar

import msgspec
from msgspec import UNSET, Struct, UnsetType
from twisted.logger import Logger
from twisted.python.failure import Failure

from cmmd.fleet.errors import BY_CODE, Coded, InternalError, refusal

__all__ = [
    "HEADERS",
    "MEANS",
    "MEDIA_TYPE",
    "STATUS",
    "Forbidden",
    "Problem",
    "Refused",
    "Unauthorized",
    "WrongField",
    "encoded",
    "problem_of",
    "refuse",
]

log = Logger()

MEDIA_TYPE = "application/problem+json"
TYPE = "urn:cmmd:problem:"

LONGEST_DETAIL = 500

STATUS: dict[str, int] = {
    "bad_argument": 400,
    "no_such_point": 400,
    "unauthorized": 401,
    "forbidden": 403,
    "admin_only": 403,
    "engineer_only": 403,
    "foreign_origin": 403,
    "bad_csrf_token": 403,
    "not_found": 404,
    "unknown_device": 404,
    "no_such_alarm": 404,
    "no_such_command": 404,
    "no_such_controller": 404,
    "method_not_allowed": 405,
    "not_acceptable": 406,
    "not_allowed": 409,
    "already_enrolled": 409,
    "under_way": 409,
    "registry_full": 409,
    "commands_disabled": 409,
    "raw_disabled": 409,
    "device_disabled": 409,
    "device_offline": 409,
    "remote_inhibited": 409,
    "remote_locked": 409,
    "locked": 409,
    "ambiguous_session": 409,
    "stale": 409,
    "queue_full": 409,
    "too_late": 409,
    "expired": 409,
    "key_used": 409,
    "too_large": 413,
    "uri_too_long": 414,
    "unsupported_media_type": 415,
    "unknown_command": 422,
    "bad_frame": 422,
    "out_of_range": 422,
    "bad_port": 422,
    "too_many_requests": 429,
    "internal_error": 500,
    "not_audited": 503,
    "too_many_connections": 503,
    "unavailable": 503,
}
"""The HTTP status of every code that is answered."""

_OURS: dict[str, str] = {
    "unauthorized": "there is no token, or an unknown one",
    "forbidden": "the token's role does not have this",
    "foreign_origin": "the request comes from a page of another host",
    "bad_csrf_token": "a session's write needs its X-CSRF-Token",
    "not_found": "there is nothing at this address",
    "no_such_controller": "no controller profile has this name",
    "method_not_allowed": "this address knows other methods; they are in Allow",
    "not_acceptable": "nothing is answered in a media type that Accept names",
    "too_many_connections": "there is no room for another connection now",
    "key_used": "the Idempotency-Key was used for another command",
    "too_large": "the body has more than 64 KiB",
    "uri_too_long": "the address has more than 8192 bytes",
    "unsupported_media_type": "the body is to be application/json, in UTF-8, uncompressed",
}

MEANS: dict[str, str] = {
    code: _OURS[code]
    if code in _OURS
    else " ".join((BY_CODE[code].__doc__ or "").split())
    if code in BY_CODE
    else "nothing was sent, for another reason"
    for code in STATUS
}
"""What each of them means."""


_LATER = {"Retry-After": "Seconds after which it may go through."}

HEADERS: Mapping[int, Mapping[str, str]] = {
    401: {"WWW-Authenticate": "How a token is shown."},
    415: {"Accept": "The media types that are taken.", "Accept-Encoding": "How a body may be encoded."},
    429: _LATER,
    503: _LATER,
}
"""What answers have besides, by status, and what it means."""


class Problem(Struct, frozen=True, kw_only=True):
    """The reason why a request was not done.

    :ivar type: ``urn:cmmd:problem:`` and the code. :ivar title: of the status. :ivar status: the same in HTTP.
    :ivar detail: for people. :ivar code: for programs; it stays as it is.
    :ivar field: what is wrong in the request: ``body.timeout``, ``query.limit``, ``header.If-None-Match``.
    """

    type: str
    title: str
    status: int
    detail: str
    code: str
    field: str | UnsetType = UNSET


class Refused(Coded):
    """A request was not done, for a reason that only HTTP knows.

    :param code: one of STATUS.
    """

    def __init__(self, code: str, detail: str, *, field: str | None = None, **headers: str) -> None:
        super().__init__(detail)
        self.code = code  # type: ignore[misc]
        self.field = field
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}


class WrongField(Refused):
    """A field of a request is missing, or has a wrong value."""

    def __init__(self, field: str, what: str) -> None:
        super().__init__("bad_argument", f"{field}: {what}", field=field)


class Unauthorized(Refused):
    """The caller of the request is unknown."""

    challenge: ClassVar[str] = 'Bearer realm="cmmd"'

    def __init__(self, detail: str) -> None:
        super().__init__("unauthorized", detail, WWW_Authenticate=self.challenge)


class Forbidden(Refused):
    """The caller is known, and has no permission."""

    def __init__(self, detail: str) -> None:
        super().__init__("forbidden", detail)


def problem_of(error: BaseException) -> tuple[Problem, dict[str, str]]:
    """Choose the answer and headers for an exception. A bug is logged."""
    known = refusal(error)
    if known is None:
        log.failure("web: a request has failed", Failure(error))
        known = InternalError("internal error; the log has more")
    status = STATUS[known.code]
    headers: dict[str, str] = dict(getattr(known, "headers", {}))
    if "Retry-After" in HEADERS.get(status, ()):
        headers.setdefault("Retry-After", "1")
    problem = Problem(
        type=TYPE + known.code,
        title=HTTPStatus(status).phrase,
        status=status,
        detail=str(known)[:LONGEST_DETAIL],
        code=known.code,
        field=UNSET if known.field is None else known.field,
    )
    return problem, headers


def encoded(problem: Problem) -> bytes:
    """The body of an answer."""
    return msgspec.json.encode(problem)


def refuse(request: Any, error: BaseException) -> None:
    """Answer with a problem."""
    problem, headers = problem_of(error)
    body = encoded(problem)
    request.setResponseCode(problem.status)
    for name, value in headers.items():
        request.setHeader(name, value)
    request.setHeader("Content-Type", MEDIA_TYPE)
    request.setHeader("Content-Length", str(len(body)))
    request.write(body)
    request.finish()
