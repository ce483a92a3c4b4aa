"""While there is no session: polling goes on, and what matters of it is kept on disk."""

from collections import Counter

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from cmmd.gateway.buffer import Buffer, BufferFailed, Kept, Ordered
from cmmd.gateway.session import change_packet
from cmmd.gateway.source import NO_INPUTS, InputStates, Source
from cmmd.gateway.steps import Steps
from cmmd.gateway.timekeeper import Timekeeper
from cmmd.modbus.frames import split_frames
from cmmd.wire.messages import ChangeParams, ReqData, ReqDataChange, encode

__all__ = ["CHANGE_GAP_S", "Recorder"]

CHANGE_GAP_S = 1.0
"""Between a kept upload and the next one that is kept because a coil changed: what flaps must not fill a disk."""

_OF_BITS = ("01", "02")
"""The functions of coils and discrete inputs, as they stand behind the unit in a frame."""
_EXCEPTION = 0x80
"""What is added to the function in an exception."""
_SHAPE = 6  # characters: unit, function, byte count


class Recorder:
    """Keeps a full upload at an interval, and whenever a coil or an input of the device changed; and such an input.

    :param source: polled.
    :param buffer: where uploads go.
    :param clock: all time.
    :param interval_s: seconds between uploads kept.
    :ivar kept: uploads kept. :ivar failed: uploads that the buffer did not take.
    """

    def __init__(
        self,
        source: Source,
        buffer: Buffer,
        timekeeper: Timekeeper,
        *,
        clock: IReactorTime,
        interval_s: float,
        log: Logger,
    ) -> None:
        self._source = source
        self._buffer = buffer
        self._timekeeper = timekeeper
        self._clock = clock
        self._interval_s = interval_s
        self._log = log
        self._ordered: Ordered | None = None
        self._running: Deferred[None] | None = None
        self._trouble = ""  # the last one logged
        self.kept = self.failed = 0
        self.forget()

    def start(self, ordered: Ordered) -> None:
        """Poll as ordered, if that is not done already; the source follows that plan."""
        if self._running is not None and ordered == self._ordered:
            return  # in its step, whatever becomes of attempts to connect
        self.stop()
        self._ordered = ordered
        self._running = Deferred.fromCoroutine(self._run(ordered))
        self._running.addErrback(self._over)

    def stop(self) -> None:
        """Poll no more; what it is in the middle of is not kept."""
        running, self._running = self._running, None
        if running is not None:
            running.cancel()

    def forget(self) -> None:
        """What is kept next is the first of another time without a session."""
        self._kept_at: float | None = None
        self._bits: dict[tuple[str, int], str] = {}
        self._owes_change = False
        self._inputs: InputStates = NO_INPUTS

    def _over(self, failure: Failure) -> None:
        failure.trap(CancelledError)

    async def _run(self, ordered: Ordered) -> None:
        steps = Steps(self._clock, ordered.period_s, ordered.period_s)
        while True:
            await steps.next()
            try:
                await self._step(ordered.plan)
            except CancelledError:
                raise
            except Exception:  # our bug: the next step may be better
                self._log.failure("while polling without a session")

    async def _step(self, plan: str) -> None:
        hostid = self._source.identity().hostid
        params = await self._source.full_upload()
        if not _has_values(params):  # that a controller was silent is no reading
            params = ""
        inputs = self._source.inputs()
        news = inputs not in (self._inputs, NO_INPUTS)
        if self._is_due(params, inputs_changed=news):
            if params:
                await self._keep(ReqData(params=params, hostid=hostid), plan)
            if news:  # behind the values of the same moment
                self._inputs = inputs
                await self._keep(change_packet(hostid, ChangeParams(), inputs), plan)

    def _is_due(self, params: str, *, inputs_changed: bool) -> bool:
        """Whether something is to be kept; it is taken for kept then."""
        if not params and not inputs_changed:
            return False
        now = self._clock.seconds()
        bits = _bits(params)
        if inputs_changed or any(self._bits.get(place, frame) != frame for place, frame in bits.items()):
            self._owes_change = True
        self._bits.update(bits)
        since_s = self._interval_s if self._kept_at is None else now - self._kept_at
        due_s = CHANGE_GAP_S if self._owes_change else self._interval_s
        if 0 <= since_s < due_s:
            return False
        self._kept_at = now
        self._owes_change = False
        return True

    async def _keep(self, message: ReqData | ReqDataChange, plan: str) -> None:
        stamp = self._timekeeper.stamp()
        try:
            await self._buffer.add(Kept(hostid=message.hostid, plan=plan, stamp=stamp, message=encode(message)))
        except BufferFailed as error:
            self.failed += 1
            if str(error) != self._trouble:
                self._trouble = str(error)
                self._log.error("an upload is not kept: {error}", error=error)
        else:
            self.kept += 1
            self._trouble = ""


def _has_values(params: str) -> bool:
    """Whether any frame of an upload is none of an exception."""
    return any(int(frame[2:4], 16) < _EXCEPTION for frame in split_frames(params))


def _bits(params: str) -> dict[tuple[str, int], str]:
    """The frames of coils and discrete inputs in an upload, by their shape, and which of that shape they are."""
    seen: Counter[str] = Counter()
    bits = {}
    for frame in split_frames(params):
        if frame[2:4] in _OF_BITS:
            shape = frame[:_SHAPE]
            bits[shape, seen[shape]] = frame
            seen[shape] += 1
    return bits
