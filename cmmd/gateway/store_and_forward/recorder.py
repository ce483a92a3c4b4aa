"""Keep on disk what the server does not get: what is polled in a session and does not arrive, and all without one."""

from collections import deque
from collections.abc import Callable
from enum import Enum
from math import nextafter
from typing import NamedTuple

from msgspec import Struct
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from cmmd.gateway.blocks import bits_of, has_values
from cmmd.gateway.link.source import NO_INPUTS, InputStates, Source
from cmmd.gateway.link.uploads import change_packet
from cmmd.gateway.steps import Steps
from cmmd.gateway.store_and_forward.backfill import Timestamps
from cmmd.gateway.store_and_forward.buffer import Buffer, BufferFailed, Kept, Ordered, Stamp
from cmmd.keep_policy import CHANGE_GAP_S, Due, KeepPolicy
from cmmd.wire.messages import ChangeParams, ReqData, ReqDataChange, encode

__all__ = ["MOST_ADDS_UNDER_WAY", "OVERDUE_AFTER", "Delivery", "KeptRows", "Moment", "Recorder", "UploadTracker"]

MOST_ADDS_UNDER_WAY = 16
"""Uploads that wait for the disk. In a session polling waits for no disk, and one that hangs must not fill memory."""


OVERDUE_AFTER = 2
"""Polls while an upload is unanswered, after which it counts as one that does not arrive."""


class Moment(Struct, frozen=True, kw_only=True):
    """The values of one poll, and its time.

    :ivar plan: the polling plan that its frames answer.
    :ivar stamp: when it was.
    :ivar params: of a full upload; empty: nothing was read.
    :ivar inputs: of the device.
    """

    plan: str
    stamp: Stamp
    params: str
    inputs: InputStates


class KeptRows(NamedTuple):
    """The rows of a moment in the buffer; None: nothing was kept, or the buffer refused it.

    :ivar values: what was polled. :ivar inputs: of the device. :ivar news: the inputs differ from those reported last.
    """

    values: Kept | None
    inputs: Kept | None
    news: bool


class Recorder:
    """Keeps a full upload at an interval, and whenever a coil or an input of the device changed; and such an input.

    :param source: polled.
    :param buffer: where uploads go.
    :param clock: all time.
    :param interval_s: seconds between uploads kept.
    :ivar failing: the last upload that was to be kept was not.
    :ivar kept: uploads kept, without those withdrawn. :ivar failed: uploads that the buffer did not take.
    :ivar unsent: something has been kept since this was set to False.
    """

    def __init__(
        self,
        source: Source,
        buffer: Buffer,
        timekeeper: Timestamps,
        *,
        clock: IReactorTime,
        interval_s: float,
        log: Logger,
    ) -> None:
        self._source = source
        self._buffer = buffer
        self._timekeeper = timekeeper
        self._clock = clock
        # Polls come in an even step: one that is an interval after the last one kept is due, not the one behind it.
        self._policy = KeepPolicy(nextafter(interval_s, 0), CHANGE_GAP_S)
        self._log = log
        self._ordered: Ordered | None = None
        self._running: Deferred[None] | None = None
        self._polled_at: float | None = None  # in a session, or without one
        self._troubles: set[str] = set()  # that have been logged
        self._adds_under_way = 0
        self.failing = False
        self.kept = self.failed = 0
        self.unsent = False
        self.forget()

    def start(self, ordered: Ordered) -> None:
        """Poll as ordered, in the step of the last poll, if that is not done already; the source follows that plan."""
        if self._running is not None and ordered == self._ordered:
            return  # in its step, whatever becomes of attempts to connect
        self.stop()
        self._ordered = ordered
        self._running = Deferred.fromCoroutine(self._run(ordered))
        self._running.addErrback(self._over)

    def stop(self) -> None:
        """Poll no more; a poll that it is in the middle of is not kept."""
        running, self._running = self._running, None
        if running is not None:
            running.cancel()

    def forget(self) -> None:
        """Begin anew: the next kept row is the first of another period."""
        self._kept_at: float | None = None  # by the ticks of the machine
        self._inputs_kept_at: float | None = None  # the same, without values
        self._bits: dict[tuple[str, int], str] = {}
        self._owes_change = False
        self._inputs: InputStates = NO_INPUTS

    def _over(self, failure: Failure) -> None:
        failure.trap(CancelledError)

    async def _run(self, ordered: Ordered) -> None:
        since_s = 0.0 if self._polled_at is None else self._clock.seconds() - self._polled_at
        steps = Steps(self._clock, ordered.period_s, min(max(ordered.period_s - since_s, 0.0), ordered.period_s))
        while True:
            await steps.next()
            try:
                params = await self._source.full_upload()
                keeping = self.missed(self.moment(params, self._source.inputs()))
                if keeping is not None:
                    kept: Deferred[KeptRows] = Deferred()
                    keeping.chainDeferred(kept)
                    await kept  # who stops this ends the waiting; it is kept, and counted, all the same
            except CancelledError:
                raise
            except Exception:  # our bug: the next step may be better
                self._log.failure("while polling without a session")

    # --- what matters ------------------------------------------------------------------------------------------------

    def moment(self, params: str, inputs: InputStates, *, polled: bool = True) -> Moment:
        """Describe the present poll, in the form of the last order.

        :param polled: False: only the inputs were looked at.
        """
        if polled:
            self._polled_at = self._clock.seconds()
        plan = "" if self._ordered is None else self._ordered.plan
        values = params if has_values(params) else ""  # that a controller was silent is no reading
        return Moment(plan=plan, stamp=self._timekeeper.stamp(), params=values, inputs=inputs)

    def arrived(self, moment: Moment, *, tells_inputs: bool) -> None:
        """The server has it: what comes after it is compared with it.

        :param tells_inputs: the server has been sent the inputs, too.
        """
        self._bits.update(bits_of(moment.params))
        if moment.params:  # else a change of a coil is owed as before
            self._owes_change = False
        if tells_inputs:
            self._inputs = moment.inputs

    def missed(self, moment: Moment, *, changes_only: bool = False) -> Deferred[KeptRows] | None:
        """Keep an upload, if one is due, that perhaps does not reach the server. Call in the order of moments.

        :param changes_only: not for the interval's sake, for the server gets others.
        :return: fires when that is done or has failed, with what was kept; None: it is not due.
        """
        inputs_changed = moment.inputs not in (self._inputs, NO_INPUTS)
        first = self._kept_at is None  # history may know nothing of the inputs yet
        if not self._is_due(moment, inputs_changed=inputs_changed, changes_only=changes_only):
            return None
        hostid = self._source.identity().hostid
        values = inputs = None
        if moment.params:
            values = self._adding(moment, ReqData(params=moment.params, hostid=hostid))
        if inputs_changed or (first and moment.inputs != NO_INPUTS):  # behind the values of the same moment
            self._inputs = moment.inputs
            inputs = self._adding(moment, change_packet(hostid, ChangeParams(), moment.inputs))
        self.unsent = True
        return Deferred.fromCoroutine(_rows(values, inputs, news=inputs_changed))

    def take_back(self, moment: Moment, keeping: Deferred[KeptRows], *, tells_inputs: bool) -> None:
        """The server has it all the same.

        :param keeping: what :meth:`missed` has returned.
        :param tells_inputs: the server has been sent the inputs, too; else changes of them stay noted.
        """
        if self._kept_at == moment.stamp.ticks_s:
            self._kept_at = None

        def remove(rows: KeptRows) -> KeptRows:
            Deferred.fromCoroutine(self._remove(rows.values, None if rows.news and not tells_inputs else rows.inputs))
            return rows

        keeping.addCallback(remove)

    def _is_due(self, moment: Moment, *, inputs_changed: bool, changes_only: bool) -> bool:
        """Tell whether a row is due, and count it as kept then."""
        now = moment.stamp.ticks_s
        if not moment.params:  # values stay as due as they were
            if not inputs_changed or self._policy.too_soon(now, self._inputs_kept_at):
                return False
            self._inputs_kept_at = now
            return True
        bits = bits_of(moment.params)
        if inputs_changed or any(self._bits.get(place, frame) != frame for place, frame in bits.items()):
            self._owes_change = True
        self._bits.update(bits)
        if changes_only and not self._owes_change:
            return False
        if self._policy.due(now, self._kept_at, changed=self._owes_change) in (Due.NOT_DUE, Due.TOO_SOON):
            return False
        self._kept_at = now
        self._owes_change = False
        return True

    def _adding(self, moment: Moment, message: ReqData | ReqDataChange) -> Deferred[Kept | None]:
        kept = Kept(hostid=message.hostid, plan=moment.plan, stamp=moment.stamp, message=encode(message))
        return Deferred.fromCoroutine(self._add(kept))

    async def _add(self, kept: Kept) -> Kept | None:
        if self._adds_under_way >= MOST_ADDS_UNDER_WAY:
            self._not_kept(f"{self._adds_under_way} others wait for the disk")
            return None
        self._adds_under_way += 1
        try:
            kept = await self._buffer.add(kept)
        except BufferFailed as error:
            self._not_kept(str(error))
            return None
        finally:
            self._adds_under_way -= 1
        self.kept += 1
        if not self._adds_under_way:  # else a disk that is slow would be logged again and again
            if self.failing:
                self._log.info("uploads are kept again")
            self.failing = False
            self._troubles.clear()
        return kept

    def _not_kept(self, trouble: str) -> None:
        self.failed += 1
        self.failing = True
        if trouble not in self._troubles:
            self._troubles.add(trouble)
            self._log.error("an upload is not kept: {error}", error=trouble)

    async def _remove(self, *rows: Kept | None) -> None:
        for kept in rows:
            if kept is None:
                continue
            try:
                removed = await self._buffer.remove(kept)
            except BufferFailed:  # then it is sent once more, which does no harm
                return
            self.kept -= removed


async def _rows(values: Deferred[Kept | None] | None, inputs: Deferred[Kept | None] | None, *, news: bool) -> KeptRows:
    return KeptRows(None if values is None else await values, None if inputs is None else await inputs, news)


class _Fate(Enum):
    UNDER_WAY = "under way"
    ARRIVED = "arrived"
    MISSED = "missed"
    DROPPED = "dropped"
    LEFT_OUT = "left out"


class Delivery:
    """A moment that was polled, and what becomes of it. Of one that has been sent, one of these is called, once.

    :param tells_inputs: whether the upload tells the device's inputs.
    :param polled: False: it tells the inputs and nothing else. Whether the server takes uploads with values does not
        follow from what becomes of it.
    """

    __slots__ = ("_deliveries", "fate", "keeping", "moment", "polled", "tells_inputs")

    def __init__(
        self,
        deliveries: "UploadTracker",
        moment: Moment,
        fate: _Fate,
        *,
        tells_inputs: bool = False,
        polled: bool = True,
    ) -> None:
        self._deliveries = deliveries
        self.moment = moment
        self.fate = fate
        self.tells_inputs = tells_inputs
        self.polled = polled
        self.keeping: Deferred[KeptRows] | None = None

    def arrived(self) -> None:
        """The server has it."""
        self._deliveries.settle(self, _Fate.ARRIVED)

    def missed(self) -> None:
        """The server cannot take it now, or it is unknown whether it has it."""
        self._deliveries.settle(self, _Fate.MISSED)

    def dropped(self) -> None:
        """The server will never take it."""
        self._deliveries.settle(self, _Fate.DROPPED)


class UploadTracker:
    """The polls of one session, in their order.

    Whether a moment is worth keeping depends on what the server had got before it. So what was polled while an upload
    was under way waits for what becomes of that; but not for long: then the upload counts as one that does not arrive,
    and is kept. If it arrives all the same, it is withdrawn.

    :param recorder: keeps what the server does not get.
    :param arrived: notified whenever the server has taken an upload.
    """

    def __init__(self, recorder: Recorder, arrived: Callable[[], None]) -> None:
        self._recorder = recorder
        self._arrived = arrived
        self._waiting: deque[Delivery] = deque()  # behind one that is under way; that first
        self._gets_through = True  # what was polled and settled last has arrived

    def sent(self, params: str, inputs: InputStates, *, tells_inputs: bool) -> Delivery:
        """Track an upload that was sent to the server.

        :param params: what was polled, as ``params`` of a full upload; empty: nothing was, or nothing answered.
        """
        moment = self._recorder.moment(params, inputs)
        one = Delivery(self, moment, _Fate.UNDER_WAY, tells_inputs=tells_inputs)
        self._waiting.append(one)
        return one

    def inputs_sent(self, inputs: InputStates) -> Delivery:
        """The device's inputs are on their way to the server, and no values."""
        moment = self._recorder.moment("", inputs, polled=False)
        one = Delivery(self, moment, _Fate.UNDER_WAY, tells_inputs=True, polled=False)
        self._waiting.append(one)
        return one

    def left_out(self, params: str, inputs: InputStates) -> None:
        """Track a poll that is not sent while the upload before it is unanswered."""
        self._waiting.append(Delivery(self, self._recorder.moment(params, inputs), _Fate.LEFT_OUT))
        if sum(one.fate is _Fate.LEFT_OUT for one in self._waiting) >= OVERDUE_AFTER:
            for one in self._waiting:
                if one.fate is _Fate.UNDER_WAY:
                    one.fate = _Fate.MISSED
        self._judge()

    def settle(self, one: Delivery, fate: _Fate) -> None:
        """Settle one upload: its fate is known."""
        if one.fate is _Fate.UNDER_WAY:
            one.fate = fate
            self._judge()
        elif fate is _Fate.ARRIVED:  # it was overdue
            self._gets_through = self._gets_through or one.polled
            if one.keeping is not None:
                self._recorder.take_back(one.moment, one.keeping, tells_inputs=one.tells_inputs)
        if fate is _Fate.ARRIVED and one.polled:
            self._arrived()

    def _judge(self) -> None:
        while self._waiting and self._waiting[0].fate is not _Fate.UNDER_WAY:
            one = self._waiting.popleft()
            if one.fate is _Fate.ARRIVED:
                self._gets_through = self._gets_through or one.polled
                self._recorder.arrived(one.moment, tells_inputs=one.tells_inputs)
            elif one.fate is _Fate.MISSED:
                self._gets_through = self._gets_through and not one.polled
                one.keeping = self._recorder.missed(one.moment)
            elif one.fate is _Fate.LEFT_OUT:
                self._recorder.missed(one.moment, changes_only=self._gets_through)
