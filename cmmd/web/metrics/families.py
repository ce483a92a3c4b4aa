"""The metrics of the daemon: their names, what they mean, and where their numbers are read."""

import platform
from collections.abc import Callable, Mapping
from typing import Literal, get_args

from msgspec import Struct

import twisted
from cmmd import __version__
from cmmd.fleet.counters.counters import Counters, FrameOutcome, Histogram
from cmmd.fleet.fleet import Fleet
from cmmd.store.records import Command, Outcome
from cmmd.store.records import Reason as KeptReason
from cmmd.web.metrics.lag import ReactorLag
from cmmd.wire.errors import Reason
from cmmd.wire.messages import DeviceMessage
from cmmd.wire.retcodes import Retcode

__all__ = ["FAMILIES", "Family", "Watched"]


class Watched(Struct, frozen=True, kw_only=True):
    """The parts of a daemon that its metrics are read from.

    :ivar connections: how many of devices stand, by role.
    :ivar started_at: when the daemon began to serve, Unix time in seconds.
    """

    fleet: Fleet
    counters: Counters
    connections: Callable[[], Mapping[str, int]]
    lag: ReactorLag
    started_at: float


Kind = Literal["gauge", "counter", "histogram", "info"]
Numbers = float | Mapping[str, float] | Mapping[tuple[str, ...], float] | Histogram
"""A number; numbers by the value of the label, or by the values of all of them; a histogram."""


class Family(Struct, frozen=True):
    """One metric of the daemon.

    :ivar name: of a counter without ``_total``, of an info without ``_info``.
    :ivar read: gives its numbers now. Every value that a label can have is there from the start, so that the first one
        counted is a rise.
    """

    name: str
    kind: Kind
    means: str
    read: Callable[[Watched], Numbers]
    labels: tuple[str, ...] = ()

    @property
    def exposed(self) -> str:
        """The name that queries use; a histogram's comes before its suffixes."""
        return self.name + {"counter": "_total", "info": "_info"}.get(self.kind, "")


_METHODS: tuple[str, ...] = tuple(str(one.__struct_config__.tag) for one in get_args(DeviceMessage))
_KINDS: tuple[str, ...] = get_args(Command.__annotations__["kind"])


def _all(counts: Mapping[str, int], values: tuple[str, ...]) -> dict[str, float]:
    return {value: counts.get(value, 0) for value in values}


def _build(_: Watched) -> dict[tuple[str, ...], float]:
    return {(__version__, platform.python_version(), str(twisted.__version__)): 1}


def _events(watched: Watched) -> dict[str, float]:
    return {kind.value: count for kind, count in watched.fleet.events.counts.items()}


def _logins(watched: Watched) -> dict[str, float]:
    return {code.name.lower(): watched.counters.logins.get(code.value, 0) for code in Retcode}


def _peer_errors(watched: Watched) -> dict[str, float]:
    return {reason.value: watched.counters.peer_errors.get(reason, 0) for reason in Reason}


def _frames(watched: Watched) -> dict[str, float]:
    return {outcome.value: watched.counters.frames.get(outcome, 0) for outcome in FrameOutcome}


def _commands(watched: Watched) -> dict[tuple[str, ...], float]:
    outcomes = watched.fleet.dispatch.audit.outcomes
    every = ((kind, outcome) for kind in _KINDS for outcome in get_args(Outcome))
    return {(kind, outcome): outcomes.get((kind, outcome), 0) for kind, outcome in every}


FAMILIES: tuple[Family, ...] = (
    Family(
        "cmmd_build", "info", "The version of cmmd, and of what it runs on.", _build, ("version", "python", "twisted")
    ),
    Family("cmmd_start_time_seconds", "gauge", "When the daemon began to serve, Unix time.", lambda w: w.started_at),
    # devices
    Family("cmmd_devices", "gauge", "Devices that have registered or were enrolled.", lambda w: len(w.fleet.registry)),
    Family("cmmd_devices_online", "gauge", "Devices with a live session.", lambda w: len(w.fleet.presence)),
    Family(
        "cmmd_connections",
        "gauge",
        "TCP connections of devices, by what they are used for; login: they are no device's, or not yet.",
        lambda w: w.connections(),
        ("role",),
    ),
    Family(
        "cmmd_sessions",
        "gauge",
        "Long connections that are attached to a device.",
        lambda w: w.fleet.presence.session_count,
    ),
    Family("cmmd_bytes_received", "counter", "Bytes received from devices.", lambda w: w.counters.bytes_received),
    Family(
        "cmmd_messages",
        "counter",
        "Messages of devices that were understood, by method.",
        lambda w: _all(w.counters.messages, _METHODS),
        ("method",),
    ),
    Family(
        "cmmd_peer_errors",
        "counter",
        "What devices and strangers sent that was not taken, and connections that were given up, by reason.",
        _peer_errors,
        ("reason",),
    ),
    Family("cmmd_logins", "counter", "Logins that were answered, by what the answer was.", _logins, ("outcome",)),
    # uploads
    Family(
        "cmmd_uploads",
        "counter",
        "Uploads of devices, by kind.",
        lambda w: _all(w.counters.uploads, ("full", "change")),
        ("kind",),
    ),
    Family(
        "cmmd_modbus_frames",
        "counter",
        "Modbus frames of full uploads, and items of change uploads, by what became of them.",
        _frames,
        ("outcome",),
    ),
    Family(
        "cmmd_packet_gaps",
        "counter",
        "How often change uploads of a device were missing.",
        lambda w: w.counters.packet_gaps,
    ),
    # history and the store
    Family(
        "cmmd_history_rows",
        "counter",
        "Readings that are durable, by why the upload was kept.",
        lambda w: _all(w.counters.readings, get_args(KeptReason)),
        ("reason",),
    ),
    Family(
        "cmmd_history_suppressed",
        "counter",
        "Uploads with changes that were left out of history, because the device had too many.",
        lambda w: w.counters.suppressed,
    ),
    Family(
        "cmmd_history_refused",
        "counter",
        "Uploads that should have been kept and could not; the devices were answered so.",
        lambda w: w.counters.not_kept,
    ),
    Family(
        "cmmd_history_backlog_rows",
        "gauge",
        "Rows that wait for the store: in memory, and in the spool while it is unavailable.",
        lambda w: w.fleet.store_health().backlog,
    ),
    Family(
        "cmmd_store_up", "gauge", "1: the store takes rows; 0: unavailable.", lambda w: int(w.fleet.store_health().up)
    ),
    Family(
        "cmmd_store_write_seconds",
        "histogram",
        "How long it took until a batch of rows was durable, or was refused.",
        lambda w: w.fleet.journal.write_seconds,
    ),
    # alarms, events, commands
    Family(
        "cmmd_alarms", "gauge", "Alarms that are open, by severity.", lambda w: w.fleet.alarms.counts, ("severity",)
    ),
    Family("cmmd_events", "counter", "Events, by kind.", _events, ("kind",)),
    Family(
        "cmmd_events_lost",
        "counter",
        "Events that were not kept, because too many rows waited for the store.",
        lambda w: w.fleet.journal.lost,
    ),
    Family(
        "cmmd_commands", "counter", "Commands that have ended, by kind and outcome.", _commands, ("kind", "outcome")
    ),
    Family(
        "cmmd_command_seconds",
        "histogram",
        "From when a command was accepted until its outcome was known.",
        lambda w: w.fleet.dispatch.audit.seconds,
    ),
    Family(
        "cmmd_commands_under_way",
        "gauge",
        "Commands that wait for their turn or for an answer.",
        lambda w: len(w.fleet.dispatch),
    ),
    # the daemon itself
    Family(
        "cmmd_reactor_lag_seconds",
        "gauge",
        "The most that the reactor was late within the last minute.",
        lambda w: w.lag.worst,
    ),
    Family(
        "cmmd_reactor_late_seconds",
        "histogram",
        "How late the reactor was, looked at ten times a second.",
        lambda w: w.lag.observed,
    ),
    Family(
        "cmmd_bugs",
        "counter",
        "Bugs of cmmd: exceptions that nothing expects; the log has them.",
        lambda w: w.counters.bugs,
    ),
)
"""All of them, in the order in which they are shown."""
