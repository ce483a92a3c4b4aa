"""Kernel options and queries for the socket of a device, and its addresses as devices write them."""

import socket
import struct
from fcntl import ioctl
from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.interfaces import IAddress

__all__ = ["host_and_port", "socket_of", "tune", "unacknowledged", "unsent"]

SEND_BUFFER = 64 * 1024
"""Bytes that the kernel takes of us, so that a peer that does not read is noticed."""
KEEPALIVE_IDLE_S, KEEPALIVE_INTERVAL_S, KEEPALIVE_PROBES = 60, 15, 4

SIOCOUTQ, SIOCOUTQNSD = 0x5411, 0x894B  # of <linux/sockios.h>; the socket module has no names for them


def tune(handle: socket.socket) -> None:
    """Bound what is unsent; notice a peer that has vanished."""
    handle.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
    handle.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, KEEPALIVE_IDLE_S)
    handle.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, KEEPALIVE_INTERVAL_S)
    handle.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, KEEPALIVE_PROBES)


def socket_of(transport: Any) -> object:
    """The socket that a transport writes to; with TLS, too, the one beneath."""
    while (beneath := getattr(transport, "transport", None)) is not None:
        transport = beneath
    return transport.getHandle()


def unacknowledged(handle: object) -> int:
    """Bytes that the kernel has of us and the peer has not confirmed; 0 for what is no TCP socket."""
    return _ask(handle, SIOCOUTQ)


def unsent(handle: object) -> int:
    """Those of them that have not even been sent yet."""
    return _ask(handle, SIOCOUTQNSD)


def _ask(handle: object, request: int) -> int:
    if not isinstance(handle, socket.socket) or handle.family not in (socket.AF_INET, socket.AF_INET6):
        return 0
    (count,) = struct.unpack("i", ioctl(handle, request, bytes(4)))
    return int(count)


def host_and_port(address: IAddress) -> tuple[str, int]:
    """An address as devices write it: IPv6 in brackets, IPv4 in IPv6 as IPv4; empty and 0 where it is not TCP."""
    if not isinstance(address, IPv4Address | IPv6Address):
        return "", 0
    host = address.host.removeprefix("::ffff:") if "." in address.host else address.host
    return (f"[{host}]" if ":" in host else host), address.port
