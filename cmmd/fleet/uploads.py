"""The way of an upload through the fleet: image, live record, alarms and events, history."""

from collections.abc import Callable, Sized
from functools import partial

from twisted.internet.defer import Deferred, FirstError, gatherResults
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.python.failure import Failure

from cmmd.controllers.evidence.weighing import is_fixed
from cmmd.fleet.alarms.alarms import VALUES_IMPLAUSIBLE, Alarms
from cmmd.fleet.devices.inputs import Input, Origin, Reports
from cmmd.fleet.events import Events, Kind
from cmmd.fleet.history.history import History
from cmmd.fleet.late_uploads import WITH_VALUES, LateUploads, WrongTime
from cmmd.fleet.telemetry.evidence import Evidence, is_evidence, mostly_implausible
from cmmd.fleet.telemetry.genset_state import differs, merged_state
from cmmd.fleet.telemetry.live import Live, LiveRecord
from cmmd.fleet.telemetry.plan import Plan
from cmmd.fleet.telemetry.telemetry import Telemetry, UploadResult, registers_in
from cmmd.store.interface import StoreUnavailable
from cmmd.store.records import ByteOrder, Device
from cmmd.wire.messages import ReqData, ReqDataChange

__all__ = ["SILENT_AFTER", "Uploads", "WrongTime"]

SILENT_AFTER = 3
"""Uploads in a row of which nothing can be taken, before the controller counts as silent."""

LOOK_AGAIN_S = 1.0
"""When to look again at devices that have something left to tell or to keep, and may be silent meanwhile."""

_VALUES, _CHANGES = UploadResult.VALUES, UploadResult.CHANGES


class Uploads:
    """The pipeline that takes every upload through the fleet.

    :param now: Unix time in seconds.
    :param clock: for whatever waits.
    :param retention_days: what is older is not kept.
    :param keep_inputs: makes the reports of a device's inputs durable, given its hostid and their text; fails with
        StoreUnavailable.
    :param moved: notified of the hostid, and longitude, latitude and altitude as a device has said them.
    """

    def __init__(
        self,
        *,
        telemetry: Telemetry,
        live: Live,
        alarms: Alarms,
        events: Events,
        evidence: Evidence,
        history: History,
        now: Callable[[], float],
        clock: IReactorTime,
        retention_days: int,
        keep_inputs: Callable[[str, str], Deferred[None]],
        moved: Callable[[str, object, object, object], None],
    ) -> None:
        self._moved = moved
        self._keep_inputs = keep_inputs
        self._telemetry = telemetry
        self._live = live
        self._alarms = alarms
        self._events = events
        self._evidence = evidence
        self._history = history
        self._now = now
        self._clock = clock
        self._late = LateUploads(
            live=live, evidence=evidence, history=history, now=now, clock=clock, retention_days=retention_days
        )
        self._unfinished: dict[str, LiveRecord] = {}
        self._hooks: tuple[Callable[[LiveRecord], None], ...] = ()
        self._value_hooks: tuple[tuple[Sized, Callable[[LiveRecord], None]], ...] = ()
        self._looking: IDelayedCall | None = None
        self._stopped = False

    def full(
        self, message: ReqData, plan: Plan, *, historic: bool, trusted: bool = True, source: str = ""
    ) -> Deferred[None] | None:
        """Take a full upload in (protocol section 4.4), of a device that is registered.

        One that came on a port that is for history only, or says when it was, is kept in history and not in the live
        record.

        :param plan: what the device had been ordered to poll. :param historic: it came on such a port.
        :param trusted: it came from a session of the latest password login. What others say is shown, and kept; nothing
            is sent on the strength of it.
        :param source: by which right it says when it was, see :class:`HistoryRights`; empty: it does not.
        :return: fires when the upload is durable, fails with StoreUnavailable when it is not kept; None: it is not due
            for history.
        :raises WrongTime: it says that it is from a time that it cannot be from; nothing of it is taken.
        """
        if historic or message.itime is not None:
            take = partial(self._telemetry.full, params=message.params, plan=plan)
            return self._late.keep(message, take, trusted=trusted, source=source)
        record = self._live.made(message.hostid) or self._live[message.hostid]
        doubted = record.doubted
        if trusted and not doubted:  # as nearly always
            return self._taken(record, self._telemetry.full(record, message.params, plan))
        if not trusted:
            record.doubt()
        taken = self._telemetry.full(record, message.params, plan)
        if taken not in WITH_VALUES:
            record.doubted = doubted
        elif record.doubted and trusted:
            record.believe_again()
        return self._taken(record, taken)

    def change(
        self,
        message: ReqDataChange,
        *,
        historic: bool,
        trusted: bool = True,
        origin: Callable[[], Origin] = Origin,
        source: str = "",
    ) -> Deferred[None] | None:
        """Take a change upload in (protocol section 4.5), in the same way.

        :param origin: gives the session that it came by.
        """
        if historic or message.itime is not None:
            take = partial(self._change_of_the_past, message=message, origin=origin)
            return self._late.keep(message, take, trusted=trusted, source=source)
        record = self._live.made(message.hostid) or self._live[message.hostid]
        doubted = record.doubted
        if not trusted:
            record.doubt()
        elif message.params.longitude is not None:
            self._moved(message.hostid, message.params.longitude, message.params.latitude, message.params.altitude)
        differs = False
        # As message.reports_inputs, without the call.
        if not (message.AccessAlarm is message.FireAlarm is message.AlarmInput is message.InhbitRemote is None):
            differs = self._take_inputs(record, message, origin)
        taken = self._telemetry.change(record, message, inputs_changed=differs)
        if taken not in WITH_VALUES:
            record.doubted = doubted  # inputs have a rule of their own
        durable = self._taken(record, taken, message)
        return durable if record.reports is None or not record.reports.unsaved else self._and_inputs(record, durable)

    def _change_of_the_past(
        self, record: LiveRecord, message: ReqDataChange, origin: Callable[[], Origin]
    ) -> UploadResult:
        differs = message.reports_inputs and self._take_inputs(record, message, origin)
        return self._telemetry.change(record, message, inputs_changed=differs)

    def _take_inputs(self, record: LiveRecord, message: ReqDataChange, origin: Callable[[], Origin]) -> bool:
        """Take over what an upload says of the device's own inputs; tell whether any of them has changed."""
        if record.reports is None:
            record.reports = Reports()
        return record.reports.take(message, origin(), int(self._now() * 1000))

    def _and_inputs(self, record: LiveRecord, durable: Deferred[None] | None) -> Deferred[None]:
        """Have the reports of inputs durable, too, before the upload is answered: an inhibit outlives a restart."""
        reports = record.reports
        assert reports is not None, "there is something to keep"
        reports.unsaved = False

        def not_kept(failure: Failure) -> Failure:
            reports.unsaved = True
            self._look_again(record)  # a module in full mode never says its inputs again
            return failure

        kept = self._keep_inputs(record.hostid, reports.to_text()).addErrback(not_kept)
        both = gatherResults([kept] if durable is None else [kept, durable], consumeErrors=True)
        return both.addCallbacks(lambda _: None, _first_failure)

    def clear_input(self, hostid: str, one: Input, why: str) -> Deferred[None]:
        """Forget what a device has said of one of its inputs, until it says it again; its alarm is cleared.

        :param why: who did so, for the alarm.
        :return: fires when that is durable, fails with StoreUnavailable.
        """
        record = self._live[hostid]
        if record.reports is None:
            record.reports = Reports()
        record.reports.clear(one)
        self._alarms.clear_input(hostid, one.name, why)
        for hook in self._hooks:
            hook(record)
        return self._and_inputs(record, None)

    def plan(self, hostid: str) -> Plan:
        """Find the plan that a registered device was given."""
        return self._live[hostid].plan

    def registered(self, device: Device) -> bool:
        """A device has logged in: it may have another controller now, or another plan.

        :return: whether it has another profile.
        """
        self._late.forget(device.hostid)
        profiles = self._live.registered(device)
        self._look_if_read_anew(self._live.made(device.hostid))
        if profiles is not None:
            before, after = profiles
            self._events.emit(Kind.PROFILE_CHANGED, device.hostid, before=before, after=after)
        return profiles is not None

    def forget(self, hostid: str) -> None:
        """Drop what waits of a device that is forgotten."""
        self._late.forget(hostid)
        unfinished = self._unfinished.pop(hostid, None)
        if unfinished is not None:
            self._history.flush_pending(unfinished, None)

    def byte_order_decided(self, hostid: str, byte_order: ByteOrder | None) -> None:
        """The byte order of a device's change uploads is decided, by its live or its history uploads, or open again."""
        live = self._live.get(hostid)
        for record in (live, self._late.get(hostid)):
            if record is not None and record.known.byte_order != byte_order:
                if is_fixed(record.known.byte_order_state):
                    continue
                if byte_order is None:
                    record.known.reopen()
                else:
                    record.known.decide(byte_order, record.profile)
                record.unsettled = record is live
        self._look_if_read_anew(live)

    def watch_values(self, hook: Callable[[LiveRecord], None], waiting: Sized) -> None:
        """Subscribe to every upload with values that a live record has taken over. See :meth:`subscribe`.

        :param waiting: who waits for such an upload: while this is empty, as nearly always, the hook is not called.
        """
        self._value_hooks = (*self._value_hooks, (waiting, hook))

    def subscribe(self, hook: Callable[[LiveRecord], None]) -> Callable[[], None]:
        """Subscribe to every upload that changed what is known, or how sure that is.

        A hook does not raise, and takes no time.

        :return: call it to unsubscribe.
        """
        self._hooks = (*self._hooks, hook)

        def unsubscribe() -> None:
            self._hooks = tuple(one for one in self._hooks if one is not hook)

        return unsubscribe

    def stop(self) -> None:
        """The end: keep what is owed."""
        self._stopped = True
        if self._looking is not None:
            self._looking.cancel()
            self._looking = None
        for record in self._unfinished.values():
            self._history.flush_pending(record, None)

    # --- what follows ------------------------------------------------------------------------------------------------

    def _taken(
        self, record: LiveRecord, taken: UploadResult, change: ReqDataChange | None = None
    ) -> Deferred[None] | None:
        if taken is not _VALUES and taken is not _CHANGES:
            if taken is UploadResult.INPUTS:
                return self._inputs_alone(record)
            self._without_values(record, taken)
            return None
        record.upload += 1
        record.at = int(self._now() * 1000)
        if record.fruitless or record.stale:
            self._has_values_again(record)
        has_changed = False
        if taken is _CHANGES or record.unsettled or (record.weighing and is_evidence(record.weighing, change)):
            read_anew = self._evidence.weigh(record, None if change is None else registers_in(change))
            if read_anew or taken is _CHANGES or record.unsettled:
                has_changed = self._look(record)
        for waiting, hook in self._value_hooks:
            if waiting:
                hook(record)
        for hook in self._hooks:
            hook(record)
        durable = self._history.take(record, changed=has_changed)
        if durable is not None:  # not for each upload, which would cost
            self._alarms.set_own(record.hostid, VALUES_IMPLAUSIBLE, active=mostly_implausible(record))
        if record.unsettled or record.owed == "change" or record.inputs_at is not None:  # _is_unfinished, not called
            self._look_again(record)
        return None if durable is None else durable.addErrback(self._not_kept, record)

    def _inputs_alone(self, record: LiveRecord) -> Deferred[None] | None:
        """Take changed inputs of the device over: values of the controller become no newer by it."""
        self._look(record)
        for hook in self._hooks:
            hook(record)
        durable = self._history.take_inputs(record, int(self._now() * 1000), "change")
        if _is_unfinished(record):
            self._look_again(record)
        return None if durable is None else durable.addErrback(self._not_kept, record)

    def _not_kept(self, failure: Failure, record: LiveRecord) -> Failure:
        if record.owed == "change" or record.inputs_at is not None:
            self._look_again(record)
        return failure

    def _without_values(self, record: LiveRecord, taken: UploadResult) -> None:
        """An upload that says nothing of the genset: what is known gets no newer by it."""
        if taken is UploadResult.NOTHING:
            record.fruitless += 1
            if record.fruitless == SILENT_AFTER:
                self._alarms.controller_silent(record.hostid)
            if record.fruitless == 1:  # what the upload lacks is outdated now
                for hook in self._hooks:
                    hook(record)
        if record.unsettled:
            self._look(record)

    def _has_values_again(self, record: LiveRecord) -> None:
        if record.stale:
            record.stale = False
            record.unsettled = True  # alarms of before the start
        if self._alarms.controller_answers(record.hostid):
            record.fruitless = 0  # else again with the next one

    def _look(self, record: LiveRecord) -> bool:
        """Detect changes since the upload before; True: one of them is a reason to keep a reading."""
        before = record.situation
        now = record.situation = merged_state(before, record.watch.situation(record.known))
        for kind, details in record.watch.changes(before, now):
            self._events.emit(kind, record.hostid, **details)
        self._alarms.set_own(record.hostid, VALUES_IMPLAUSIBLE, active=mostly_implausible(record))
        signals = self._alarms.look(record.hostid, record.profile, record.known, record.inputs)
        record.unsettled = self._alarms.unsettled(record.hostid)
        return signals or differs(before, now)

    def _look_again(self, record: LiveRecord) -> None:
        """Come back to a device soon, whether it uploads again or not."""
        self._unfinished[record.hostid] = record
        if self._looking is None and not self._stopped:
            self._looking = self._clock.callLater(LOOK_AGAIN_S, self._finish)

    def _look_if_read_anew(self, record: LiveRecord | None) -> None:
        """Look for alarms soon where what is known means something else now: the next upload may be long in coming."""
        if record is not None and record.unsettled and record.known.image:
            self._look_again(record)

    def _finish(self) -> None:
        self._looking = None
        unfinished, self._unfinished = self._unfinished, {}
        now_ms = int(self._now() * 1000)
        for record in unfinished.values():
            if record.unsettled:
                self._look(record)
            self._history.flush_pending(record, now_ms)
            if record.reports is not None and record.reports.unsaved:
                self._and_inputs(record, None).addErrback(lambda failure: failure.trap(StoreUnavailable))
            if _is_unfinished(record):
                self._look_again(record)


def _first_failure(failure: Failure) -> Failure:
    """Give what made one of several fail, instead of that one did."""
    failure.trap(FirstError)
    assert isinstance(failure.value, FirstError), "it was trapped"
    return failure.value.subFailure


def _is_unfinished(record: LiveRecord) -> bool:
    """Tell whether something is left to tell or to keep, though the device may say nothing more."""
    return record.unsettled or record.owed == "change" or record.inputs_at is not None
