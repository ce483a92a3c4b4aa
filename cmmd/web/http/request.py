"""An HTTP request within limits, and the formats that its client accepts."""

import re
from io import BytesIO
from typing import TYPE_CHECKING, Any

from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.iweb import IRequest
from twisted.web.server import NOT_DONE_YET, Request

from cmmd.web.http.browser_sessions import COOKIE
from cmmd.web.http.problems import Refused, refuse

if TYPE_CHECKING:
    from cmmd.web.http.connections import Limited

__all__ = ["HEADERS", "MOST_BODY_BYTES", "MOST_PIECES", "LimitedRequest", "accept_of", "wants_gzip"]


_NONE = re.compile(r"0(\.0*)?")


def accept_of(request: IRequest) -> str:
    """The ``Accept`` header as one text; empty: there is none."""
    return _header(request, b"accept")


def wants_gzip(request: IRequest) -> bool:
    """Tell whether ``Accept-Encoding`` names gzip, and not with the quality 0, which says no."""
    for one in _header(request, b"accept-encoding").lower().split(","):
        coding, _, quality = one.replace(" ", "").partition(";q=")
        if coding == "gzip":
            return _NONE.fullmatch(quality) is None
    return False


def _header(request: IRequest, name: bytes) -> str:
    values: list[bytes] = request.requestHeaders.getRawHeaders(name, [])
    return ",".join(value.decode("latin-1") for value in values)


log = Logger()

MOST_BODY_BYTES = 64 * 1024
MOST_URI_BYTES = 8192

MOST_PIECES = 1024
"""Chunks of a chunked body. Each costs microseconds, whatever its size, so bytes alone do not limit the work."""

MOST_TRAILER_BYTES = 1024
"""Bytes of the fields behind a chunked body, which nothing here reads; Twisted splits 64 KiB of them into lines."""

MOST_SEGMENTS = 32
"""Segments of a path; the resource tree is walked one segment at a time."""

MOST_PARAMETERS = 100
"""Parameters of a query; each is decoded twice before an operation looks at the first."""

HEADERS: tuple[tuple[bytes, bytes], ...] = (
    (b"Server", b"cmmd"),
    (b"X-Content-Type-Options", b"nosniff"),
    (b"X-Frame-Options", b"DENY"),
    (b"Referrer-Policy", b"no-referrer"),
    (b"Cross-Origin-Resource-Policy", b"same-origin"),
    (b"Cross-Origin-Opener-Policy", b"same-origin"),
    (
        b"Permissions-Policy",
        b"camera=(), geolocation=(), microphone=(), payment=(), serial=(), usb=()",
    ),
    (b"Content-Security-Policy", b"default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"),
    (b"Cache-Control", b"no-store"),
)
"""Headers of every answer, unless the answer sets its own."""

HEALTH, SIGN_IN = b"/healthz", b"/api/v1/session"

HSTS = b"max-age=31536000"
"""Over TLS a browser shall come back by TLS only, for a year."""

_ABSOLUTE = re.compile(rb"https?://([^/?#]*)", re.IGNORECASE)


class LimitedRequest(Request):
    """A request with a short body, a short address and few parameters.

    Forms in a body are never parsed: see the ``parsePOSTFormSubmission`` that ``LimitedSite`` hands to Twisted.
    """

    channel: "Limited"
    content: BytesIO
    _pieces = 0

    def gotLength(self, length: int | None) -> None:
        """Refuse a body that is announced as too long."""
        self.content = BytesIO()
        if length is not None and length > MOST_BODY_BYTES:
            self.channel.refuse(Refused("too_large", f"the body has more than {MOST_BODY_BYTES} bytes"))
        elif length is None:
            self.channel.limit_trailers(MOST_TRAILER_BYTES)

    def parseCookies(self) -> None:
        """Find the session's cookie; splitting thousands of foreign ones would cost 20 ms a request."""
        pattern = self.channel.site.cookies.pattern(secure=self.isSecure())
        for header in self.requestHeaders.getRawHeaders(b"Cookie") or ():
            for found in pattern.finditer(header):
                self.received_cookies[COOKIE.encode()] = found[1]

    def handleContentChunk(self, data: bytes) -> None:
        """Take one piece of the body.

        :raises Refused: the body is too long, or is sent in too many chunks; the rest of the segment is not parsed.
        """
        if self.content.tell() + len(data) > MOST_BODY_BYTES:
            raise Refused("too_large", f"the body has more than {MOST_BODY_BYTES} bytes")
        self._pieces += 1
        if self._pieces > MOST_PIECES and self.channel.length is None:
            raise Refused("too_large", f"the body has more than {MOST_PIECES} chunks")
        self.content.write(data)

    def requestReceived(self, command: bytes, path: bytes, version: bytes) -> None:
        """Check the address before Twisted takes it apart; of a whole one (RFC 9112, 3.2.2) the host counts."""
        absolute = _ABSOLUTE.match(path)
        if absolute is not None:
            path = path[absolute.end() :]
            path = path if path.startswith(b"/") else b"/" + path
        hosts = self.requestHeaders.getRawHeaders(b"Host") or ()
        error = _beyond_limits(path)
        if error is None and (len(hosts) > 1 or (not hosts and version == b"HTTP/1.1")):
            error = Refused("bad_argument", "header.Host: HTTP/1.1 needs one, and only one", field="header.Host")
        if error is not None:
            self.channel.refuse(error)
            return
        if absolute is not None:
            self.requestHeaders.setRawHeaders(b"Host", [absolute[1]])
        if self.channel.no_room and not self._is_answered_always(path):
            self.channel.refuse(Refused("too_many_connections", self.channel.no_room))
            return
        super().requestReceived(command, path, version)

    def _is_answered_always(self, path: bytes) -> bool:
        """Tell whether a request is answered where there is no room: a health check, or perhaps an administrator's."""
        if path == HEALTH:
            self.channel.persistent = False
            self.responseHeaders.setRawHeaders(b"Connection", [b"close"])
            return True
        shown = self.requestHeaders.hasHeader(b"Authorization") or self.requestHeaders.hasHeader(b"Cookie")
        return shown or path == SIGN_IN

    def processingFailed(self, reason: Failure) -> Failure:
        """Answer a bug of a resource as the API does, unless a part of another answer has been sent."""
        if self.startedWriting:
            log.failure("web: while answering", reason)
            self.channel.forceAbortClient()
        else:
            assert reason.value is not None, "it failed"
            refuse(self, reason.value)
        return reason

    def getHeader(self, key: Any) -> Any:
        """Return a header as text; undecodable bytes are replaced, never raised."""
        if isinstance(key, bytes):
            return super().getHeader(key)
        raw = super().getHeader(key.encode("ascii"))
        return None if raw is None else raw.decode("utf-8", "replace")

    def render(self, resrc: Any) -> None:
        """Answer with a resource. Twisted's own method logs a line for each HEAD request, which fills a disk."""
        for name, value in HEADERS:
            self.responseHeaders.setRawHeaders(name, [value])
        if self.isSecure():
            self.responseHeaders.setRawHeaders(b"Strict-Transport-Security", [HSTS])
        body = resrc.render(self)
        if body is NOT_DONE_YET:
            return
        if body or self.method != b"HEAD":
            self.setHeader(b"Content-Length", b"%d" % len(body))
        self.write(body)  # sends no body in answer to HEAD
        self.finish()


def _beyond_limits(uri: bytes) -> Refused | None:
    """Return why an address is refused; None: it is within the limits."""
    if len(uri) > MOST_URI_BYTES:
        return Refused("uri_too_long", f"{len(uri)} bytes, {MOST_URI_BYTES} are taken")
    path, _, query = uri.partition(b"?")
    if path.count(b"/") > MOST_SEGMENTS:
        return Refused("not_found", "there is nothing at this address")
    if query.count(b"&") + query.count(b";") >= MOST_PARAMETERS:
        return Refused("bad_argument", f"query: more than {MOST_PARAMETERS} parameters", field="query")
    return None
