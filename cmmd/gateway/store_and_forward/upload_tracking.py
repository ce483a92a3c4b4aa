"""Track whether the server receives the polls of a session; the ones that it does not are kept."""

from collections import deque
from collections.abc import Callable
from enum import Enum

from twisted.internet.defer import Deferred

from cmmd.gateway.link.source import InputStates
from cmmd.gateway.store_and_forward.recorder import KeptRows, Moment, Recorder

__all__ = ["OVERDUE_AFTER", "Delivery", "UploadTracker"]

OVERDUE_AFTER = 2
"""Polls while an upload is unanswered, after which it counts as one that does not arrive."""


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
