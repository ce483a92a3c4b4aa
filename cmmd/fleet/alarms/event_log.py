"""Events in the log, for an operator who has nothing else open."""

from collections.abc import Callable

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from cmmd.fleet.counters.log_throttle import LogLimit
from cmmd.fleet.events import Kind
from cmmd.store.records import Event

__all__ = ["EventLog"]

log = Logger()

# What is not here is logged where it happens, or not at all.
_LINES: dict[str, str] = {
    Kind.ALARM_RAISED: "alarm: {hostid}: {title} ({severity})",
    Kind.ALARM_ACKNOWLEDGED: "alarm acknowledged: {hostid}: {title} ({severity}), by {by}",
    Kind.ALARM_CLEARED: "alarm cleared: {hostid}: {title} ({severity})",
    Kind.MODE_CHANGED: "mode: {hostid}: {after}, was {before}",
    Kind.ENGINE_STARTED: "engine started: {hostid}: {state}",
    Kind.ENGINE_STOPPED: "engine stopped: {hostid}: {state}",
    Kind.MAINS_LOST: "mains lost: {hostid}",
    Kind.MAINS_RETURNED: "mains returned: {hostid}",
    Kind.BREAKER_CHANGED: "{breaker} breaker: {hostid}: {position}",
    Kind.PROFILE_CHANGED: "profile: {hostid}: {after}, was {before}",
    Kind.DEVICE_LOCKED: "locked for maintenance: {hostid}: {reason}, by {by}",
    Kind.DEVICE_UNLOCKED: "unlocked: {hostid}: by {by}, was locked by {locked_by}: {reason}",
    Kind.INPUT_CLEARED: "input {input} cleared: {hostid}: by {by}, was said by {address}",
    Kind.SETTING_CHANGED: "setting {setting} of {hostid}: {after}, was {before}; changed by {requester}",
}


class EventLog:
    """Logs events, of each device as often as anything is logged of it.

    :param clock: for that limit.
    :param name: gives the name of a device, as it says it.
    """

    def __init__(self, clock: IReactorTime, name: Callable[[str], str]) -> None:
        self._name = name
        self._limit = LogLimit(clock, burst=20)

    def __call__(self, event: Event) -> None:
        """Log one event as a line."""
        line = _LINES.get(event.kind)
        if line is None:
            return
        more = self._limit.allows(event.hostid)
        if more is None:
            return
        position = "closed" if event.details.get("closed") else "open"
        device = f"{event.hostid} ({self._name(event.hostid)})"
        said = {**event.details, "hostid": device, "position": position}
        log.info("{said}{more}", said=line.format(**said), more=more)
