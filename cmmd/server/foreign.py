"""Recognize HTTP, TLS and STUN on the port of devices, before anything of the connection is obeyed.

Any web page can have the browser of its reader connect to any address, and post a body to it: a JSON document in that
body is a message like a module's. Modules begin with ``{``, perhaps behind blanks or garbage of a modem; a browser
cannot leave out its request line, nor the ``Host`` field.
"""

import re

__all__ = ["ForeignProtocols"]

# The HTTP Method Registry of the IANA, QUERY, and PRI, the first word of HTTP/2.
_METHODS = b"""
    ACL BASELINE-CONTROL BIND CHECKIN CHECKOUT CONNECT COPY DELETE GET HEAD LABEL LINK LOCK MERGE MKACTIVITY MKCALENDAR
    MKCOL MKREDIRECTREF MKWORKSPACE MOVE OPTIONS ORDERPATCH PATCH POST PRI PROPFIND PROPPATCH PUT QUERY REBIND REPORT
    SEARCH TRACE UNBIND UNCHECKOUT UNLINK UNLOCK UPDATE UPDATEREDIRECTREF VERSION-CONTROL
""".split()

_HTTP = re.compile(rb"(?:" + b"|".join(_METHODS) + rb")[ \t\r\n]", re.IGNORECASE)
_BLANKS = b" \t\r\n\v\f\0\xef\xbb\xbf"  # also a byte order mark, as the splitter skips it

_TLS = b"\x16\x03"  # a record with a handshake, of SSL 3.0 or any TLS

_STUN = b"\x21\x12\xa4\x42"  # the magic cookie: WebRTC connects by TCP to any address that a page names
_STUN_AT = (4, 6)  # in a message (RFC 8489), and behind the length that ICE puts before it (RFC 6544)

_START_BYTES = 64
"""Bytes of a connection in which its first word is looked for; the longest method has 17."""

_HOST = b"\nhost:"


class ForeignProtocols:
    """Recognizes protocols that are not the devices' in one connection's bytes, however they are segmented.

    The work is linear in the bytes. A segment without a line feed, as modules send them, costs one search for it.
    """

    __slots__ = ("_line", "_start")

    def __init__(self) -> None:
        self._start: bytes | None = b""  # the first bytes; None: they are a device's
        self._line = b"\n"  # the end of the bytes so far, where that may be the beginning of a Host line

    def recognized(self, segment: bytes) -> bool:
        """Tell whether the connection, up to the end of this segment, is of another protocol."""
        if self._start is not None and self._starts_as_another(self._start, segment):
            return True
        if not self._line and b"\n" not in segment:
            return False
        text = (self._line + segment).lower()
        if _HOST in text:
            return True
        last = text[1 - len(_HOST) :]
        line = last[last.rfind(b"\n") :] if b"\n" in last else b""
        self._line = line if _HOST.startswith(line) else b""
        return False

    def _starts_as_another(self, before: bytes, segment: bytes) -> bool:
        start = before + segment[: _START_BYTES - len(before)]
        self._start = None if start.startswith(b"{") or len(start) == _START_BYTES else start
        return (
            start.startswith(_TLS)
            or any(start.startswith(_STUN, at) for at in _STUN_AT)
            or _HTTP.match(start.lstrip(_BLANKS)) is not None
        )
