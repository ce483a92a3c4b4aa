"""Bounds of what strangers can do at the ports of devices: which connections stay, and whose sessions they become."""

from collections.abc import Callable
from typing import Literal, Protocol

from msgspec import Struct

from cmmd.fleet.devices.networks import Networks, same_network, subscriber
from cmmd.fleet.devices.registry import Registry
from cmmd.fleet.devices.strangers import FreshConnections, Strangers
from cmmd.fleet.events import Events, Kind
from cmmd.server.unfinished import MOST_UNFINISHED, UnfinishedFrames
from cmmd.store.records import Device
from cmmd.wire.errors import MessageError, Reason
from cmmd.wire.retcodes import Retcode

__all__ = ["BindSession", "DeviceDoor", "DeviceDoorTerms", "foreign"]

BindSession = Literal["off", "network", "address"]
"""Where a session can come from: ``network``, ``address``: where the latest password login of its device came from."""

_HOUR_MS = 3_600_000


class DeviceDoorTerms(Struct, frozen=True, kw_only=True):
    """The limits of the ports of devices.

    ``fresh_connections``: of one subscriber, on which no known device has spoken. ``exempt``: networks without that
    limit. ``bind_session``, ``bind_hours``: a session attaches where the latest password login of its device came from,
    and is so many hours ago at most. ``most_unfinished``: bytes of unfinished messages of all connections together.
    """

    fresh_connections: int = 500
    exempt: Networks = Networks()
    bind_session: BindSession = "off"
    bind_hours: float = 168.0
    most_unfinished: int = MOST_UNFINISHED


class Entrant(Protocol):
    """A connection, as the door sees it."""

    hostid: str | None

    @property
    def peer(self) -> str:
        """The host at the other end."""

    def drop(self, reason: Reason) -> None:
        """Give the connection up at once."""

    def __hash__(self) -> int: ...


class DeviceDoor:
    """Decides which connections stay and attach.

    :param registry: knows the devices. :param events: notified of sessions that are refused.
    :param strangers: the budget of addresses.
    :param now: Unix time in seconds.
    """

    def __init__(
        self, registry: Registry, events: Events, strangers: Strangers, now: Callable[[], float], terms: DeviceDoorTerms
    ) -> None:
        self._registry = registry
        self._events = events
        self._strangers = strangers
        self._now = now
        self._terms = terms
        self._fresh: FreshConnections[Entrant] = FreshConnections(
            terms.fresh_connections, registry.homes.at, terms.exempt
        )
        self._unfinished: UnfinishedFrames[Entrant] = UnfinishedFrames(
            terms.most_unfinished, lambda one: one.hostid is not None
        )

    # --- connections -------------------------------------------------------------------------------------------------

    def came(self, connection: Entrant) -> None:
        """Count a connection that no known device uses: it has just come, or is closing."""
        oldest = self._fresh.add(connection, connection.peer)
        if oldest is not None:
            oldest.drop(Reason.TOO_MANY_CONNECTIONS)

    def used(self, connection: Entrant) -> None:
        """Count a connection no more: a login is decided on it, a known device uses it, or it has ended."""
        self._fresh.discard(connection, connection.peer)

    def holds(self, connection: Entrant, pending: int) -> None:
        """Take note of the bytes of an unfinished message on a connection; where too many are held, one ends."""
        in_the_way = self._unfinished.note(connection, pending)
        if in_the_way is not None:
            self._unfinished.note(in_the_way, 0)
            in_the_way.drop(Reason.UNFINISHED)

    # --- sessions ----------------------------------------------------------------------------------------------------

    def admit(self, method: str, hostid: str, peer: str) -> str:
        """Look whether a connection can become the session of a device.

        :param method: the method of the answer. :param peer: where it comes from.
        :return: the hostid, one text for all sessions of the device.
        :raises MessageError: unknown, as good as unknown, disabled, or not from where the device logged in.
        """
        device = self._registry.device(hostid)
        if device is None or device.last_login_at is None:  # never heard of, or enrolled and not come yet
            self._strangers.spend(peer)
            raise _unknown(method, hostid, Reason.UNKNOWN_DEVICE)
        if self._strangers.hides(peer, device.last_login_address):
            raise _unknown(method, hostid, Reason.THROTTLED)
        if not device.enabled:
            raise _not_admitted(method, hostid, "device is disabled", Reason.NOT_ENROLLED, Retcode.NOT_ENROLLED)
        if not self._is_bound(device, peer):
            self._strangers.spend(peer)
            self._events.emit(Kind.SESSION_REFUSED, hostid, address=peer, login_address=device.last_login_address or "")
            raise _unknown(method, hostid, Reason.FOREIGN_ADDRESS)
        return device.hostid

    def _is_bound(self, device: Device, peer: str) -> bool:
        """Tell whether a session from here is allowed to be the device's."""
        home, at = device.last_login_address, device.last_login_at
        if self._terms.bind_session == "off":
            return True
        if home is None or at is None or self._now() * 1000 - at > self._terms.bind_hours * _HOUR_MS:
            return False
        if self._terms.bind_session == "network":
            return same_network(home, peer)
        return subscriber(home) == subscriber(peer)


def foreign(method: str, hostid: str) -> MessageError:
    """Answer a message of another device than the one that the connection is attached to."""
    text = "hostid is not the one of this session"
    return _not_admitted(method, hostid, text, Reason.FOREIGN_HOSTID, Retcode.UNKNOWN_DEVICE)


def _unknown(method: str, hostid: str, reason: Reason) -> MessageError:
    """Answer as a hostid is answered that does not exist: a device logs in then."""
    return _not_admitted(method, hostid, "unknown device", reason, Retcode.UNKNOWN_DEVICE)


def _not_admitted(method: str, hostid: str, text: str, reason: Reason, retcode: Retcode) -> MessageError:
    return MessageError(text, method=method, reason=reason, retcode=retcode, said=hostid)
