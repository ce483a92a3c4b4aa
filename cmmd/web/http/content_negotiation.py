"""What a client says that it takes."""

import re

from twisted.web.iweb import IRequest

__all__ = ["accept_of", "wants_gzip"]

_NONE = re.compile(r"0(\.0*)?")


def accept_of(request: IRequest) -> str:
    """The ``Accept`` header as one text; empty: there is none."""
    return _header(request, b"accept")


def wants_gzip(request: IRequest) -> bool:
    """Whether ``Accept-Encoding`` names gzip, and not with the quality 0, which says no."""
    for one in _header(request, b"accept-encoding").lower().split(","):
        coding, _, quality = one.replace(" ", "").partition(";q=")
        if coding == "gzip":
            return _NONE.fullmatch(quality) is None
    return False


def _header(request: IRequest, name: bytes) -> str:
    values: list[bytes] = request.requestHeaders.getRawHeaders(name, [])
    return ",".join(value.decode("latin-1") for value in values)
