"""Upload everything or changes in the ordered step of a session (protocol sections 4.4 and 4.5)."""

from collections.abc import Coroutine
from random import Random
from typing import Any, Protocol

from msgspec.structs import replace
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

from cmmd.gateway.link.connection import ServerAnswer
from cmmd.gateway.link.orders import LinkCounters, Orders
from cmmd.gateway.link.source import NO_INPUTS, InputStates, Source
from cmmd.gateway.steps import Steps
from cmmd.wire.messages import ChangeParams, ReqData, ReqDataChange
from cmmd.wire.retcodes import Retcode

__all__ = ["FIRST_INPUTS_S", "INPUTS_REPEATED_S", "Delivered", "Keeper", "Uploader", "Uploads", "change_packet"]

FIRST_INPUTS_S = 0.2
"""The inputs are told so long after attaching: behind the question for the server's clock, in a segment of their own. A
server that parses one message per receive loses the second one of a segment."""

INPUTS_REPEATED_S = 60.0
"""How often the device's inputs are told without having changed. A server can lose what it was told, and acts on how
long ago it was: an inhibit of long ago keeps commands back until the device says that it is off."""


class Delivered(Protocol):
    """The fate of one upload: :class:`cmmd.gateway.store_and_forward.recorder.Delivery`."""

    def arrived(self) -> None:
        """The server has it."""

    def missed(self) -> None:
        """The server cannot take it now, or it is unknown whether it has it."""

    def dropped(self) -> None:
        """The server will never take it."""


class Keeper(Protocol):
    """Keeps what the server does not get; see :class:`cmmd.gateway.store_and_forward.recorder.UploadTracker`."""

    def sent(self, params: str, inputs: InputStates, *, tells_inputs: bool) -> Delivered:
        """Track an upload that was sent."""

    def inputs_sent(self, inputs: InputStates) -> Delivered:
        """The device's inputs are on their way, and no values."""

    def left_out(self, params: str, inputs: InputStates) -> None:
        """Track a poll that is not sent."""


class Uploader(Protocol):
    """The part of a :class:`cmmd.gateway.link.session.Session` that uploads need."""

    async def upload(self, message: ReqData | ReqDataChange) -> ServerAnswer:
        """Send an upload, and wait for the answer."""

    def judge(self, answer: ServerAnswer, *, values: bool = True) -> bool:
        """Tell whether the server took an upload."""

    def begin(self, coroutine: Coroutine[Any, Any, None]) -> None:
        """Run a coroutine until it or the session ends."""


class Uploads:
    """The uploads of one session.

    Polling waits for no server where a keeper records what that does not get: what is polled while an upload is not
    answered is for the keeper alone. Without a keeper there is nothing to poll for meanwhile.

    :param source: polled.
    :param session: carries the uploads. :ivar keeper: keeps what the server does not get; None: there is none.
    """

    def __init__(
        self,
        source: Source,
        session: Uploader,
        orders: Orders,
        *,
        clock: IReactorTime,
        random: Random,
        counters: LinkCounters,
    ) -> None:
        self._source = source
        self._session = session
        self._orders = orders
        self._clock = clock
        self._random = random
        self._counters = counters
        self._hostid = source.identity().hostid
        self._under_way = 0  # uploads that are not answered yet
        self._packetnum: int | None = None  # of the last change packet; None: a full set is due
        self._told: InputStates = NO_INPUTS
        self.keeper: Keeper | None = None

    async def run(self) -> None:
        """Poll in the ordered step from a random start on, and upload; steps that pass meanwhile are left out.

        :raises LinkError: the session has to end.
        """
        period = self._orders.upload_period
        steps = Steps(self._clock, period, self._random.uniform(0, period))
        while True:
            await steps.next()
            if self._under_way:
                await self._leave_out()
                continue
            await self._tell_inputs()  # before the values: a controller may take its time
            upload = await self._next_upload()
            if upload is not None:
                await self._send(upload)

    async def _leave_out(self) -> None:
        """Poll for the keeper: the server takes its time, or is not there any more."""
        params = await self._source.full_upload()
        self._packetnum = None  # what is read now is missing on the other side
        if self.keeper is not None:
            self.keeper.left_out(params, self._source.inputs())

    async def _next_upload(self) -> ReqData | ReqDataChange | None:
        """A full set, or the changes since (4.4, 4.5); None: nothing changed."""
        orders = self._orders
        sent = self._packetnum
        if orders.data_mode != 0 or sent is None or 0 < orders.reset_packet_num <= sent:
            self._packetnum = 0
            return ReqData(params=await self._source.full_upload(), hostid=self._hostid)
        changes = await self._source.change_upload()
        if changes is None:
            return None
        if isinstance(changes, str):
            self._packetnum = 0
            return ReqData(params=changes, hostid=self._hostid)
        self._packetnum = sent + 1
        return change_packet(self._hostid, replace(changes, packetnum=self._packetnum), self._source.inputs())

    async def say_inputs(self) -> None:
        """Tell the device's inputs (4.5) at once and every :data:`INPUTS_REPEATED_S`, in both data modes.

        A full upload has no place for them, and the server may have lost what it was told, or the device's address may
        be another one now.

        :raises LinkError: the session has to end.
        """
        await deferLater(self._clock, FIRST_INPUTS_S)
        while True:
            await self._tell_inputs(again=True)
            await deferLater(self._clock, INPUTS_REPEATED_S)

    async def _tell_inputs(self, *, again: bool = False) -> None:
        """Tell the device's inputs where they are not as they were told last.

        Such a packet has no values and no number: it is none of those that follow a full set.

        :param again: tell them though they are.
        """
        inputs = self._source.inputs()
        if inputs == NO_INPUTS or (inputs == self._told and not again):
            return
        self._told = inputs
        keeper = self.keeper
        if keeper is None:
            await self._inputs_sent(inputs, None)
        else:
            self._session.begin(self._inputs_sent(inputs, keeper.inputs_sent(inputs)))

    async def _inputs_sent(self, inputs: InputStates, delivered: Delivered | None) -> None:
        answer: ServerAnswer | None = None
        taken = False
        try:
            answer = await self._session.upload(change_packet(self._hostid, ChangeParams(), inputs))
            taken = self._session.judge(answer, values=False)
        finally:
            if delivered is not None:
                _settle(delivered, answer, taken=taken)
        if answer.retcode == Retcode.TRY_AGAIN:  # other refusals wait for the next repetition, or for a change
            self._told = NO_INPUTS

    async def _send(self, message: ReqData | ReqDataChange) -> None:
        """Send an upload; wait for the answer where no keeper records the polls meanwhile."""
        keeper = self.keeper
        if keeper is None:
            await self._sent(message, None)
            return
        params = (message.params or "") if isinstance(message, ReqData) else self._source.reading()
        delivered = keeper.sent(params, self._source.inputs(), tells_inputs=isinstance(message, ReqDataChange))
        self._session.begin(self._sent(message, delivered))

    async def _sent(self, message: ReqData | ReqDataChange, delivered: Delivered | None) -> None:
        self._under_way += 1
        answer: ServerAnswer | None = None
        taken = False
        try:
            answer = await self._session.upload(message)
            taken = self._session.judge(answer)
        finally:
            self._under_way -= 1
            if delivered is not None:
                _settle(delivered, answer, taken=taken)
        if taken:
            self._counters.uploads += 1
        else:
            self._packetnum = None  # what was refused is missing on the other side


def _settle(delivered: Delivered, answer: ServerAnswer | None, *, taken: bool) -> None:
    if taken:
        delivered.arrived()
    elif answer is not None and answer.retcode == Retcode.NOT_UNDERSTOOD:
        delivered.dropped()
    else:
        delivered.missed()


def change_packet(hostid: str, changes: ChangeParams, inputs: InputStates) -> ReqDataChange:
    """A change upload with what is known of the device's inputs (4.5)."""
    access_alarm, fire_alarm, alarm_input, inhibit_remote = inputs
    return ReqDataChange(
        params=changes,
        hostid=hostid,
        AccessAlarm=access_alarm,
        FireAlarm=fire_alarm,
        AlarmInput=alarm_input,
        InhbitRemote=inhibit_remote,
    )
