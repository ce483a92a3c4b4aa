"""Send kept uploads as history once there is a session again, oldest first.

A small computer without a battery wakes up with the time at which it was switched off, or with 1970, until the network
tells it better; and just then there is no network. So whatever is kept is stamped with two clocks: the box's calendar,
and the ticks of its machine since it was switched on, which no one sets. As long as the machine is not switched
off, the ticks tell how long ago it was.
"""

from collections.abc import Awaitable, Callable, Collection
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import Literal
from uuid import uuid4

from msgspec.structs import replace
from twisted.internet.defer import CancelledError
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger

from cmmd.backoff import Backoff
from cmmd.gateway.link.address import Address
from cmmd.gateway.link.connection import Connector, LinkError, ServerAnswer, ServerConnection
from cmmd.gateway.link.orders import OrderAnswer
from cmmd.gateway.link.session import NOT_OURS, Session
from cmmd.gateway.store_and_forward.buffer import Buffer, BufferFailed, Kept, Stamp
from cmmd.modbus.frames import ModbusFrameError, ReadRequest, parse_plan
from cmmd.wire.errors import PeerError
from cmmd.wire.messages import Answer, LongCon, ReqData, ReqDataChange
from cmmd.wire.quoting import quoted
from cmmd.wire.reading import read_from_device
from cmmd.wire.retcodes import Retcode

__all__ = ["EARLIEST_S", "FIRST_WITHIN_S", "GAP_S", "Backfill", "ServerType", "Timestamps", "boot_id"]

EARLIEST_S = 1_704_067_200.0
"""2024 begins. A clock that shows an earlier time is wrong, ours or a server's."""

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")

ServerType = Literal["cmmd", "other"]
"""``cmmd`` knows ``itime``; any other server may take old values for new ones."""

FIRST_WITHIN_S = 10.0
"""History begins at a random time within this after the live uploads: after an outage all devices come back at once."""

GAP_S = 0.3
"""From an answer to the next upload: live uploads and the server's orders get their turn, and others theirs."""

FIRST_WAIT_S, LONGEST_WAIT_S = 5.0, 300.0
"""After trouble."""

LOOK_AGAIN_S = 0.5

Plans = Collection[str]
Upload = Callable[[ReqData | ReqDataChange], Awaitable[ServerAnswer]]


class _NotNow(Exception):
    """History cannot go on now. The text is fit for a log."""


def boot_id() -> str:
    """The name that the kernel gave to the time since it was started; a random one where it does not say."""
    try:
        return _BOOT_ID.read_text(encoding="ascii").strip()
    except OSError:
        return str(uuid4())


class Timestamps:
    """Stamps moments, and says later when they were by the server's clock.

    The server's clock counts, where it has been learnt: what is uploaded live gets its time from there as well.

    :param now: the box's calendar, Unix time in seconds.
    :param ticks: see :func:`cmmd.stall_detector.ticks_s`. :param boot: see :func:`boot_id`.
    """

    def __init__(self, now: Callable[[], float], ticks: Callable[[], float], boot: str) -> None:
        self._now = now
        self._ticks = ticks
        self._boot = boot
        self._server_zero: float | None = None

    def learn(self, server_zero: float) -> None:
        """Take over what the server's clock showed when the ticks were 0, Unix time in seconds.

        The box's calendar has no part in it: it may be put right between a question and its answer.
        """
        self._server_zero = server_zero

    def stamp(self) -> Stamp:
        """The moment that it is now."""
        return Stamp(self._now(), self._boot, self._ticks())

    @property
    def knows(self) -> bool:
        """Tell whether anybody knows what time it is."""
        return self._best_now() >= EARLIEST_S

    def itime(self, stamp: Stamp) -> int | None:
        """Date a moment as ``itime`` in milliseconds UTC.

        Since the machine was switched on: as long ago as the ticks say. Before that: as its calendar said then, moved
        by what it is wrong now; a time before 2024 or after now shows that it was wrong then.

        :return: None: the time is unknown.
        """
        now_s = self._best_now()
        if stamp.boot == self._boot:
            at_s = now_s - (self._ticks() - stamp.ticks_s)
        else:
            at_s = stamp.unix_s + now_s - self._now()
        return int(at_s * 1000) if EARLIEST_S <= at_s <= now_s else None

    def _best_now(self) -> float:
        return self._now() if self._server_zero is None else self._server_zero + self._ticks()


class Backfill:
    """Sends what is in a buffer, each upload with the time that it is about (``itime``), and takes it out of the buffer
    when the server has it.

    To a historic address of its own it has a connection of its own. Where that is the live address, it is sent on the
    live connection, between the live uploads: a second one there would carry commands, and end.

    :ivar sent: uploads that the server has taken. :ivar refused: uploads that it does not want.
    :ivar undated: uploads without a known time; these and the refused ones are gone.
    :ivar outdated: uploads of another plan or hostid. They stay, for that may come back, until there is no room.
    """

    def __init__(
        self,
        buffer: Buffer,
        timekeeper: Timestamps,
        connector: Connector,
        *,
        server_type: ServerType,
        clock: IReactorTime,
        random: Random,
        log: Logger,
    ) -> None:
        self._buffer = buffer
        self._timekeeper = timekeeper
        self._connector = connector
        self._server_type = server_type
        self._clock = clock
        self._random = random
        self._log = log
        # The last one that the server has, or never will have: a full disk may not let it be removed.
        self._settled: tuple[int, Stamp] | None = None
        self._said = ""  # the last trouble logged
        self.sent = self.refused = self.undated = self.outdated = 0

    async def run(self, session: Session, hostid: str, plan: str, live: Address, historic: Address) -> None:
        """Send all there is; return when nothing is left that can be sent.

        :param session: it is open. :param plan: what the device has been ordered to poll in it.
        :raises LinkError: the session has to end.
        """
        backoff = Backoff(FIRST_WAIT_S, LONGEST_WAIT_S, self._random)
        before = self.sent
        wait = self._random.uniform(0, FIRST_WITHIN_S)
        with suppress(BufferFailed):
            await self._buffer.settled()  # polling has ended; what it had read last may be on its way to the disk
        while self._buffer.rows:
            await deferLater(self._clock, wait)
            while not session.time_asked:  # else a wrong clock of this machine would count
                await deferLater(self._clock, LOOK_AGAIN_S)
            try:
                plans = await self._plans(hostid, plan)
                if not plans:
                    break
                if historic != live:
                    await self._send_on_its_own(session, hostid, plans, historic)
                elif self._server_type == "cmmd":
                    await self._send_all(session, hostid, plans, session.upload)
                else:
                    raise _NotNow("on its live address this server would take old values for new ones")
            except (_NotNow, BufferFailed) as error:
                wait = backoff.next()
                self._say(str(error))
            else:
                break
        if self.sent > before:
            self._said = ""
            self._log.info("{count} kept uploads were sent as history", count=self.sent - before)

    async def _plans(self, hostid: str, plan: str) -> Plans:
        """The plans of kept uploads that ask the same as what is ordered; and the empty one: nothing answers that, so
        that there are no frames to distinguish.
        """
        found = await self._buffer.plans(hostid)
        ordered = _parsed(plan)
        same = {text: count for text, count in found.items() if _parsed(text) in (ordered, ())}
        outdated = max(0, self._buffer.rows - sum(same.values()))
        if outdated > self.outdated:
            self._log.warn(
                "{count} kept uploads stay: they answer another polling plan or are another device's", count=outdated
            )
        self.outdated = outdated
        return same

    async def _send_on_its_own(self, session: Session, hostid: str, plans: Plans, address: Address) -> None:
        try:
            connection = await self._connector.connect(address)
            connection.on_command = lambda command: session.obey(command, _sayer(connection))
            try:
                answer = await connection.ask(LongCon(hostid=hostid), "LongCon")
                if answer.retcode != Retcode.OK:
                    raise LinkError(f"LongCon refused, retcode {quoted(answer.retcode)}")
                await self._send_all(session, hostid, plans, lambda message: connection.ask(message, "reqdata"))
                while session.obeying:  # an order may have come this way
                    await deferLater(self._clock, LOOK_AGAIN_S)
            except CancelledError:
                connection.abort()
                raise
            except BaseException:
                await connection.close()
                raise
            await connection.close()
        except LinkError as error:
            raise _NotNow(f"{address}: {error}") from None

    async def _send_all(self, session: Session, hostid: str, plans: Plans, upload: Upload) -> None:
        number = 0
        while (kept := await self._buffer.next(hostid, plans, number)) is not None:
            number = kept.number
            if (kept.number, kept.stamp) != self._settled:
                await self._send(session, kept, upload)
            self._settled = kept.number, kept.stamp
            await self._buffer.remove(kept)
            self._settled = None
            await deferLater(self._clock, GAP_S)

    async def _send(self, session: Session, kept: Kept, upload: Upload) -> None:
        """Send an upload, which is settled when this returns.

        Where an answer was lost, the server may have it: so it is sent again with the same time, which is on the disk
        before it is sent first. A time that the server refuses may be of a wrong clock of then, and is forgotten.
        """
        message = self._dated(kept)
        if message is None:
            return
        if message.itime != kept.itime:
            await self._buffer.note(kept, message.itime)
        answer = await upload(message)
        if answer.retcode == Retcode.NOT_UNDERSTOOD:
            await self._buffer.note(kept, None)
            if kept.itime is not None:
                await deferLater(self._clock, GAP_S)
                await self._send(session, replace(kept, itime=None), upload)
                return
            await self._doubt_time(session, message)
        self._judge(answer)

    def _dated(self, kept: Kept) -> ReqData | ReqDataChange | None:
        """The upload with its time; None: it has none."""
        if not self._timekeeper.knows:
            raise _NotNow("neither we nor the server know what time it is")
        itime = self._timekeeper.itime(kept.stamp) if kept.itime is None else kept.itime
        try:
            message = read_from_device(kept.message)
        except PeerError:
            message = None
        if itime is None or not isinstance(message, ReqData | ReqDataChange):
            self.undated += 1
            if self.undated == 1:
                self._log.warn("a kept upload is dropped: its time is unknown; more of that is only counted")
            return None
        return replace(message, itime=itime)

    async def _doubt_time(self, session: Session, message: ReqData | ReqDataChange) -> None:
        """A refusal for good may be of a time that is still to come by the server's clock: then its clock or our idea
        of it was wrong, and the upload is right.
        """
        await session.ask_time()
        now_s = session.server_now
        if now_s is not None and message.itime is not None and message.itime > now_s * 1000:
            raise _NotNow("by the server's clock they are of a time that is still to come")

    def _judge(self, answer: ServerAnswer) -> None:
        """Look whether the server took an upload, or never will."""
        if answer.retcode == Retcode.OK:
            self.sent += 1
        elif answer.retcode in NOT_OURS:
            raise LinkError(f"history refused, retcode {answer.retcode}")
        elif answer.retcode == Retcode.NOT_UNDERSTOOD:
            self.refused += 1
            if self.refused == 1:
                self._log.warn("the server refuses a kept upload for good, and it is dropped; more is only counted")
        else:
            why = f": {quoted(answer.message)}" if isinstance(answer, Answer) and answer.message else ""
            raise _NotNow(f"the server does not take them now, retcode {quoted(answer.retcode)}{why}")

    def _say(self, trouble: str) -> None:
        if trouble != self._said:  # how many they are changes while they wait, and is no news
            self._said = trouble
            count = self._buffer.rows - self.outdated
            self._log.warn("{count} kept uploads wait: {trouble}", count=count, trouble=trouble)


def _parsed(plan: str) -> tuple[ReadRequest, ...] | str:
    """Parse the requests of a plan in a normal form; the text itself where that is impossible."""
    try:
        return parse_plan(plan)
    except ModbusFrameError:
        return plan


def _sayer(connection: ServerConnection) -> Callable[[OrderAnswer], None]:
    """Sends answers to orders while the connection is open: without it, the server draws its conclusion from that."""

    def say(answer: OrderAnswer) -> None:
        try:
            connection.send(answer)
        except LinkError:
            return

    return say
