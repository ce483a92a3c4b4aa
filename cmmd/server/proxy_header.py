"""The header by which a proxy says for whom it speaks: PROXY protocol, versions 1 and 2.

Source: https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt, sections 2.1 and 2.2. Nothing here does I/O.

Twisted's own wrapper is not used: it makes the protocol inside before the header has come, so that limits, logs and
sessions would have the proxy's address; it takes headers from every peer; it waits for one without end, and holds up to
64 KiB for it.
"""

from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import NamedTuple

__all__ = ["LONGEST_HEADER", "Header", "ProxyHeaderError", "read_header"]

LONGEST_V1 = 107
"""Bytes of a header of version 1, CRLF included, by its specification."""
LONGEST_HEADER = 1040
"""Bytes of a header of version 2: 16, two addresses, and what proxies add to that, which is some tens of bytes."""

_V1, _V2 = b"PROXY ", b"\r\n\r\n\x00\r\nQUIT\n"
_V2_FIXED = 16
_LOCAL, _PROXY = 0x20, 0x21
_TCP4, _TCP6 = 0x11, 0x21
_FAMILIES = {_TCP4: 4, _TCP6: 16}
"""Bytes of one address, by family and protocol."""
_MOST_PORT = 65535


class ProxyHeaderError(ValueError):
    """The beginning of a connection is no header, or says no address. The text is fit for a log."""


class Header(NamedTuple):
    """A header: where the connection came from, and where it went to.

    :ivar length: bytes of it; what follows is the connection's.
    :ivar source: the host, IPv6 in brackets; empty: the proxy speaks for itself, as when it looks whether cmmd serves.
    :ivar host, port: where the device connected to.
    """

    length: int
    source: str = ""
    host: str = ""
    port: int = 0


def read_header(received: bytes) -> Header | None:
    """Read the header at the beginning of a connection.

    :param received: all that has come so far.
    :return: None: it has not come wholly.
    :raises ProxyHeaderError: there is none, or it is too long, or it says no address.
    """
    if received.startswith(_V2):
        return _version_2(received)
    if received.startswith(_V1):
        return _version_1(received)
    if _V1.startswith(received) or _V2.startswith(received):
        return None
    raise ProxyHeaderError("no PROXY header")


def _version_1(received: bytes) -> Header | None:
    end = received.find(b"\r\n", 0, LONGEST_V1)
    if end < 0:
        if len(received) >= LONGEST_V1:
            raise ProxyHeaderError("a PROXY header without an end")
        return None
    match received[:end].split(b" "):
        case [_, b"TCP4" | b"TCP6" as family, source, host, source_port, port]:
            _port(source_port)
            version = 4 if family == b"TCP4" else 6
            return Header(end + 2, _host(source, version), _host(host, version), _port(port))
    raise ProxyHeaderError("a PROXY header without addresses")


def _version_2(received: bytes) -> Header | None:
    if len(received) < _V2_FIXED:
        return None
    command, family = received[12], received[13]
    length = _V2_FIXED + int.from_bytes(received[14:16], "big")
    if command not in (_LOCAL, _PROXY):
        raise ProxyHeaderError("a PROXY header of an unknown version or command")
    if length > LONGEST_HEADER:
        raise ProxyHeaderError("a PROXY header that is too long")
    if len(received) < length:
        return None
    if command == _LOCAL:
        return Header(length)
    size = _FAMILIES.get(family)
    if size is None or length < _V2_FIXED + 2 * size + 4:
        raise ProxyHeaderError("a PROXY header without addresses")
    source = received[_V2_FIXED : _V2_FIXED + size]
    host = received[_V2_FIXED + size : _V2_FIXED + 2 * size]
    at = _V2_FIXED + 2 * size + 2
    return Header(
        length, _named(ip_address(source)), _named(ip_address(host)), int.from_bytes(received[at : at + 2], "big")
    )


def _host(text: bytes, version: int) -> str:
    try:
        address = ip_address(text.decode("ascii"))
    except ValueError:
        raise ProxyHeaderError("a PROXY header with something else than an address") from None
    if address.version != version or (isinstance(address, IPv6Address) and address.scope_id is not None):
        raise ProxyHeaderError("a PROXY header with an address of another kind")
    return _named(address)


def _named(address: IPv4Address | IPv6Address) -> str:
    """Write an address as peers are named: IPv6 in brackets, IPv4 in IPv6 as IPv4."""
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    plain = mapped or address
    return f"[{plain}]" if isinstance(plain, IPv6Address) else str(plain)


def _port(text: bytes) -> int:
    if not (text.isdigit() and len(text) <= len(str(_MOST_PORT)) and int(text) <= _MOST_PORT):
        raise ProxyHeaderError("a PROXY header with something else than a port")
    return int(text)
