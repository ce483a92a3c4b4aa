"""Addresses by the unit that they are counted in: one subscriber, or one carrier's network.

An IPv4 address is one subscriber, or one carrier's NAT. An IPv6 subscriber has a whole /64, and can use any address of
it. IPv4 in IPv6 is IPv4.
"""

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

__all__ = ["BadNetwork", "Networks", "is_own_host", "same_network", "subscriber"]

SUBSCRIBER_PREFIX_BITS = 64
"""The part of an IPv6 address that names a subscriber."""
CARRIER_BITS = {4: 16, 6: 32}
"""The part of an address that names a carrier's network, by IP version. Carriers hand a module another address out of
such a network at each connection, and their NAT uses several of them at once."""


class BadNetwork(ValueError):
    """A text is neither a network nor an address."""


def _parsed(address: str) -> IPv4Address | IPv6Address | None:
    try:
        parsed = ip_address(address.removeprefix("[").removesuffix("]").partition("%")[0])
    except ValueError:
        return None
    mapped = parsed.ipv4_mapped if isinstance(parsed, IPv6Address) else None
    return parsed if mapped is None else mapped


def subscriber(address: str) -> str:
    """Name the subscriber of an address: the address itself, or its /64 where it is IPv6.

    :param address: a host, IPv6 with or without brackets. A text that is no address is its own subscriber.
    """
    if ":" not in address:  # nearly always; parsing takes 2 µs
        return address
    parsed = _parsed(address)
    if not isinstance(parsed, IPv6Address):
        return address if parsed is None else str(parsed)
    return f"{int(parsed) >> (128 - SUBSCRIBER_PREFIX_BITS):x}/{SUBSCRIBER_PREFIX_BITS}"


def same_network(one: str, other: str) -> bool:
    """Tell whether two addresses are of one carrier's network: /16 of IPv4, /32 of IPv6."""
    if one == other:
        return True
    first, second = _parsed(one), _parsed(other)
    if first is None or second is None or first.version != second.version:
        return False
    shift = first.max_prefixlen - CARRIER_BITS[first.version]
    return int(first) >> shift == int(second) >> shift


def is_own_host(address: str) -> bool:
    """Tell whether an address is 127.0.0.1 or ::1, by which programs of this machine connect."""
    return address in ("127.0.0.1", "[::1]", "::1")


class Networks:
    """A set of networks that addresses are looked up in.

    :param texts: such as ``10.8.0.0/16``, ``192.0.2.7`` or ``2001:db8::/32``.
    :raises BadNetwork: one of the texts is no network; the message names it.
    """

    def __init__(self, texts: Iterable[str] = ()) -> None:
        self._networks: list[IPv4Network | IPv6Network] = []
        for text in texts:
            try:
                self._networks.append(ip_network(text))
            except ValueError as error:
                raise BadNetwork(f"{text!r}: {error}") from None

    def __bool__(self) -> bool:
        return bool(self._networks)

    def __contains__(self, address: str) -> bool:
        """Tell whether an address is in any of the networks."""
        if not self._networks:
            return False
        parsed = _parsed(address)
        return parsed is not None and any(parsed in network for network in self._networks)
