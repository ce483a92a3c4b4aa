"""Addresses as the protocol writes them, ``HOST:PORT``, and the way to them."""

import re
from collections.abc import Callable, Iterable
from ipaddress import AddressValueError, IPv6Address, ip_address
from typing import Any, NamedTuple

from twisted.internet.abstract import isIPAddress
from twisted.internet.endpoints import HostnameEndpoint, TCP4ClientEndpoint, TCP6ClientEndpoint
from twisted.internet.interfaces import IStreamClientEndpoint

__all__ = ["Address", "EndpointFactory", "parse_address", "plain_hosts", "tcp_endpoints"]

CONNECT_TIMEOUT_S = 15

_ADDRESS = re.compile(r"(?:\[([0-9A-Fa-f:.]{2,45})\]|([A-Za-z0-9._-]{1,253})):([0-9]{1,5})", re.ASCII)


class Address(NamedTuple):
    """A host (name, IPv4 or IPv6 address) and a TCP port."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


EndpointFactory = Callable[[Address], IStreamClientEndpoint]
"""The way to an address."""


def parse_address(text: str) -> Address:
    """Read ``HOST:PORT``; an IPv6 address is in brackets. Blanks around it do not count.

    :raises ValueError: it is something else.
    """
    match = _ADDRESS.fullmatch(text.strip())
    if match is None:
        raise ValueError("not HOST:PORT")
    ipv6, name, port = match[1], match[2], int(match[3])
    if not 1 <= port <= 65535:
        raise ValueError(f"port {port} is not within 1..65535")
    if ipv6 is not None:
        try:
            IPv6Address(ipv6)
        except AddressValueError:
            raise ValueError("not an IPv6 address in the brackets") from None
    return Address(ipv6 or name, port)


def plain_hosts(hosts: Iterable[str]) -> frozenset[str]:
    """Hosts as they are compared: names in lower case, IPv6 addresses in one spelling, IPv4 within IPv6 as IPv4."""
    return frozenset(map(_plain_host, hosts))


def _plain_host(host: str) -> str:
    try:
        address = ip_address(host.strip("[]").partition("%")[0])
    except ValueError:
        return host.rstrip(".").lower()
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return str(mapped or address)


def tcp_endpoints(reactor: Any) -> EndpointFactory:  # the endpoints want reactors of three interfaces
    """The usual way: TCP. Numeric addresses need no resolver and no thread.

    :param reactor: the one that connects.
    """

    def endpoint(address: Address) -> IStreamClientEndpoint:
        if isIPAddress(address.host):
            return TCP4ClientEndpoint(reactor, address.host, address.port, CONNECT_TIMEOUT_S)
        if ":" in address.host:
            return TCP6ClientEndpoint(reactor, address.host, address.port, CONNECT_TIMEOUT_S)
        return HostnameEndpoint(reactor, address.host, address.port, CONNECT_TIMEOUT_S)

    return endpoint
