"""The way of an upload through the fleet: image, live record, alarms and events, history."""

from collections.abc import Callable
from functools import partial

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

from cmmd.fleet.alarms import Alarms
from cmmd.fleet.events import Events, Kind
from cmmd.fleet.history import History
from cmmd.fleet.live import Live, LiveRecord
from cmmd.fleet.situation import changed, later
from cmmd.fleet.telemetry import Taken, Telemetry
from cmmd.store.records import Device
from cmmd.wire.messages import ReqData, ReqDataChange

__all__ = ["HISTORIC_GAP_S", "Uploads"]

HISTORIC_GAP_S = 0.1
"""A device that uploads history is answered no sooner than this after its last one: all of it is kept, so it may come
only as fast as a disk bears from every device."""


class Uploads:
    """Takes uploads in.

    :param now: Unix time in seconds.
    :param clock: for the pace of history uploads.
    """

    def __init__(
        self,
        *,
        telemetry: Telemetry,
        live: Live,
        alarms: Alarms,
        events: Events,
        history: History,
        now: Callable[[], float],
        clock: IReactorTime,
    ) -> None:
        self._telemetry = telemetry
        self._live = live
        self._alarms = alarms
        self._events = events
        self._history = history
        self._now = now
        self._clock = clock
        self._historic: dict[str, LiveRecord] = {}

    def full(self, message: ReqData, *, historic: bool) -> Deferred[None] | None:
        """Take a full upload in (protocol section 4.4), of a device that is registered.

        :param historic: it came on a port that is for history only: it goes there, and not to the live record.
        :return: fires when the upload is durable, fails with StoreUnavailable when it is not kept; None: it is not due
            for history.
        """
        if historic:
            return self._to_history(message.hostid, partial(self._telemetry.full, params=message.params))
        record = self._live[message.hostid]
        return self._taken(record, self._telemetry.full(record, message.params))

    def change(self, message: ReqDataChange, *, historic: bool) -> Deferred[None] | None:
        """The same for a change upload (protocol section 4.5)."""
        if historic:
            return self._to_history(message.hostid, partial(self._telemetry.change, message=message))
        record = self._live[message.hostid]
        return self._taken(record, self._telemetry.change(record, message))

    def registered(self, device: Device) -> None:
        """A device has logged in: it may have another controller now, or another plan."""
        self._historic.pop(device.hostid, None)
        profiles = self._live.registered(device)
        if profiles is not None:
            before, after = profiles
            self._events.emit(Kind.PROFILE_CHANGED, device.hostid, before=before, after=after)

    def _taken(self, record: LiveRecord, taken: Taken) -> Deferred[None] | None:
        if taken is Taken.NOTHING:
            return None
        record.upload += 1
        record.at = int(self._now() * 1000)
        has_changed = False
        if taken is Taken.CHANGES or record.unsettled or record.stale:
            record.stale = False
            has_changed = self._look(record)
        return self._history.take(record, changed=has_changed)

    def _look(self, record: LiveRecord) -> bool:
        """See what has happened since the upload before; True: something that a reading is kept for."""
        before = record.situation
        now = record.situation = later(before, record.watch.situation(record.known))
        for kind, details in record.watch.changes(before, now):
            self._events.emit(kind, record.hostid, **details)
        alarms = self._alarms.look(record.hostid, record.profile, record.known, record.inputs)
        record.unsettled = self._alarms.unsettled(record.hostid)
        return alarms or changed(before, now)

    def _to_history(self, hostid: str, take: Callable[[LiveRecord], Taken]) -> Deferred[None] | None:
        """Take an upload in that is about some time in the past, nobody says which."""
        record = self._historic.get(hostid)
        if record is None:
            record = self._historic[hostid] = self._live.new_record(self._live[hostid].device)
        if take(record) is Taken.NOTHING:
            return None
        record.upload += 1
        record.at = int(self._now() * 1000)
        record.owed = "historic"
        durable = self._history.take(record, changed=False)
        assert durable is not None, "what is owed is due"
        return durable.addCallback(lambda _: deferLater(self._clock, HISTORIC_GAP_S))
