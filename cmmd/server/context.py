"""The parts of the daemon that every session works with."""

from collections.abc import Callable

from msgspec import Struct
from twisted.internet.interfaces import IReactorTime

from cmmd.fleet.counters.counters import Counters
from cmmd.fleet.devices.history_rights import HistoryRights
from cmmd.fleet.devices.presence import Presence
from cmmd.fleet.events import Events
from cmmd.fleet.uploads import Uploads
from cmmd.server.door import DeviceDoor
from cmmd.server.flow import Limits
from cmmd.server.login import LoginHandler
from cmmd.server.peer_log import PeerLog

__all__ = ["Context"]


class Context(Struct, frozen=True, kw_only=True):
    """The parts that every session works with. ``now`` is Unix time in seconds; ``ours`` knows the daemon's uids."""

    limits: Limits
    clock: IReactorTime
    now: Callable[[], float]
    door: DeviceDoor
    presence: Presence
    uploads: Uploads
    history_rights: HistoryRights
    events: Events
    desk: LoginHandler
    counters: Counters
    peer_log: PeerLog
    ours: Callable[[str | None], bool]
