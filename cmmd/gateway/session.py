"""The long connection of one device: attach, uploads, heartbeats, clock, commands (protocol sections 4.2 to 4.8)."""

from collections.abc import Coroutine, Iterable
from math import ceil
from random import Random
from typing import Any

from msgspec import UNSET
from msgspec.structs import replace
from twisted.internet.defer import CancelledError, Deferred, DeferredQueue, QueueOverflow
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from cmmd.gateway.answers import Answers, Step
from cmmd.gateway.connection import Command, LinkError, ServerAnswer, ServerConnection
from cmmd.gateway.orders import LinkCounters, Orders
from cmmd.gateway.source import Source
from cmmd.modbus.frames import split_frames
from cmmd.wire.messages import (
    Heartbeat,
    LongCon,
    ReqData,
    ReqDataChange,
    ResetAnswer,
    Timing,
    TimingAnswer,
    WriteConfig,
    WriteConfigAnswer,
)
from cmmd.wire.quoting import quoted
from cmmd.wire.retcodes import Retcode

__all__ = ["Session"]

FIRST_HEARTBEAT_S = 2.0
"""The first heartbeat comes at a random time within this, after attaching."""

WAITING_COMMANDS = 16
"""Commands that may wait for the one being carried out; a server that sends more is not in its right mind."""

_NOT_OURS = {Retcode.UNKNOWN_DEVICE, Retcode.WRONG_PASSWORD, Retcode.NOT_ENROLLED}
_LONGEST_TIME = 16  # digits of milliseconds


class Session:
    """One long connection from LongCon to its end.

    :param connection: just connected to the server's liveData address.
    :param heartbeat_interval: seconds.
    :param answers: how answers to orders go out.
    :ivar attached_at: when the server accepted LongCon, in seconds of the clock; None: not yet.
    :ivar clock_offset: the server's clock minus ours, in seconds; None: not known.
    """

    def __init__(
        self,
        connection: ServerConnection,
        source: Source,
        orders: Orders,
        *,
        clock: IReactorTime,
        random: Random,
        counters: LinkCounters,
        log: Logger,
        heartbeat_interval: float,
        answers: Answers,
    ) -> None:
        self._connection = connection
        self._source = source
        self._hostid = source.identity().hostid
        self._orders = orders
        self._clock = clock
        self._random = random
        self._counters = counters
        self._log = log
        self._heartbeat_interval = heartbeat_interval
        self._answers = answers
        self._ended: Deferred[BaseException | None] = Deferred()  # with the reason; None: a reset
        self._commands: DeferredQueue[Command] = DeferredQueue(size=WAITING_COMMANDS)
        self._tasks: set[Deferred[None]] = set()
        self._packetnum: int | None = None  # of the last change packet; None: a full set is due
        self._refusals = 0
        self.attached_at: float | None = None
        self.clock_offset: float | None = None
        connection.on_command = self._command_received
        connection.on_end = self._end

    async def run(self) -> None:
        """Attach, and return once the server has ordered a reset and was answered.

        :raises LinkError: everything else that ends a session.
        """
        answer = await self._connection.ask(LongCon(hostid=self._hostid), "LongCon")
        if answer.retcode != Retcode.OK:
            raise LinkError(f"LongCon refused, retcode {quoted(answer.retcode)}")
        self.attached_at = self._clock.seconds()
        self._counters.online += 1
        self._log.info("{hostid} is online", hostid=self._hostid)
        for task in (self._ask_time(), self._heartbeats(), self._uploads(), self._obedience()):
            self._start(task)
        try:
            why = await self._ended
        finally:
            self._counters.online -= 1
            for running in list(self._tasks):
                running.cancel()
        if why is not None:
            raise why

    def _start(self, coroutine: Coroutine[Any, Any, None]) -> None:
        """Do something beside everything else, until it is done or the session ends."""
        task = Deferred.fromCoroutine(coroutine)
        self._tasks.add(task)
        task.addErrback(self._task_failed).addBoth(lambda _: self._tasks.discard(task))

    def _task_failed(self, failure: Failure) -> None:
        cancelled = failure.check(CancelledError)  # by the source: we ourselves cancel only what has ended
        self._end(LinkError("the source gave up") if cancelled else failure.value)

    def _end(self, why: BaseException | None) -> None:
        """End the session; None: in good order. Only the first reason counts."""
        if not self._ended.called:
            self._ended.callback(why)

    def _sleep(self, seconds: float) -> Deferred[None]:
        return deferLater(self._clock, seconds)

    def _judge(self, answer: ServerAnswer) -> bool:
        """Whether the server took what it answers.

        :raises LinkError: it does not know us any more: time to log in again.
        """
        if answer.retcode == Retcode.OK:
            return True
        if answer.retcode in _NOT_OURS:
            raise LinkError(f"{answer.method} refused, retcode {answer.retcode}")
        self._counters.refused += 1
        self._refusals += 1
        if self._refusals == 1:
            self._log.warn(
                "{hostid}: {method} refused, retcode {retcode}; more of that in this session is only counted",
                hostid=self._hostid,
                method=answer.method,
                retcode=quoted(answer.retcode),
                reason="refused by the server",
            )
        return False

    # --- what we say by ourselves ------------------------------------------------------------------------------------

    async def _ask_time(self) -> None:
        """Learn the server's clock, once (4.7). A server without a sensible one is no reason to part."""
        asked = self._clock.seconds()
        answer = await self._connection.ask(Timing(hostid=self._hostid), "timing")
        if isinstance(answer, TimingAnswer) and answer.result.isdecimal() and len(answer.result) <= _LONGEST_TIME:
            self.clock_offset = int(answer.result) / 1000 - (asked + self._clock.seconds()) / 2

    async def _heartbeats(self) -> None:
        """Send HB at its interval (4.3)."""
        await self._sleep(self._random.uniform(0, FIRST_HEARTBEAT_S))
        while True:
            self._judge(await self._connection.ask(Heartbeat(hostid=self._hostid, params=""), "HB"))
            await self._sleep(self._heartbeat_interval)

    async def _uploads(self) -> None:
        """Upload in the ordered step from a random start on; steps that pass while an answer is due are left out."""
        period = self._orders.upload_period
        wait = self._random.uniform(0, period)
        due = self._clock.seconds() + wait
        while True:
            await self._sleep(wait)
            upload = self._next_upload()
            if upload is not None:
                if self._judge(await self._connection.ask(upload, "reqdata")):
                    self._counters.uploads += 1
                else:
                    self._packetnum = None  # what was refused is missing on the other side
            now = self._clock.seconds()
            due += max(ceil((now - due) / period), 1) * period
            wait = min(due - now, period)  # a clock set back must not stop the uploads

    def _next_upload(self) -> ReqData | ReqDataChange | None:
        """A full set, or the changes since (4.4, 4.5); None: nothing changed."""
        orders = self._orders
        sent = self._packetnum
        if orders.data_mode != 0 or sent is None or 0 < orders.reset_packet_num <= sent:
            self._packetnum = 0
            return ReqData(params=self._source.full_upload(), hostid=self._hostid)
        changes = self._source.change_upload()
        if changes is None:
            return None
        self._packetnum = sent + 1
        return ReqDataChange(params=replace(changes, packetnum=self._packetnum), hostid=self._hostid)

    # --- what the server orders --------------------------------------------------------------------------------------

    def _command_received(self, command: Command) -> None:
        try:
            self._commands.put(command)
        except QueueOverflow:
            self._end(LinkError(f"more than {WAITING_COMMANDS} commands at once"))

    async def _obedience(self) -> None:
        """Carry commands out, one after the other; none after the end, however a source takes being cancelled."""
        while not self._ended.called:
            command = await self._commands.get()
            self._counters.commands += 1
            if isinstance(command, WriteConfig):
                answer = await self._written(command)
                if answer is not None:
                    self._start(self._take(self._answers(answer)))
            else:
                await self._reset()

    async def _reset(self) -> None:
        """Answer, then restart (4.8); a device that does not answer stays as it is."""
        steps = tuple(self._answers(ResetAnswer(hostid=self._hostid)))
        await self._take(steps)
        if steps:
            self._end(None)

    async def _written(self, command: WriteConfig) -> WriteConfigAnswer | None:
        """Carry a writeConfig out (4.6).

        :return: how it went: ``<frame>,1`` or ``<frame>,0`` for each frame, ``,0`` where there was nothing to do. None:
            the source fails and nobody knows how it went; the server gets no answer and draws its conclusion from that.
        """
        port = None if command.modulePort is UNSET else command.modulePort
        baud = None if command.moduleBaud is UNSET else command.moduleBaud
        refused = WriteConfigAnswer(params=",0", hostid=self._hostid, uid=command.uid)
        try:
            if command.result is not UNSET:
                done = [(frame, await self._source.write(frame)) for frame in split_frames(command.result)]
                return replace(refused, params=";".join(f"{frame},{obeyed:d}" for frame, obeyed in done) or ",0")
            if (port, baud) != (None, None) and await self._source.set_port(port, baud):
                return replace(refused, params=None, modulePort=port, moduleBaud=baud)
        except CancelledError:
            raise
        except Exception:
            self._log.failure("{hostid}: a command was not answered", hostid=self._hostid)
            return None
        return refused

    async def _take(self, steps: Iterable[Step]) -> None:
        """Answer as the steps have it."""
        for after_s, message in steps:
            if after_s > 0:
                await self._sleep(after_s)
            if message is None:
                raise LinkError("the line was dropped in place of an answer")
            self._connection.send(message)
