"""The long connection of one device: attach, uploads, heartbeats, clock, commands (protocol sections 4.2 to 4.8)."""

from collections import Counter
from collections.abc import Callable, Coroutine
from functools import partial
from random import Random
from typing import Any

from msgspec import Struct
from twisted.internet.defer import CancelledError, Deferred, DeferredLock
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from cmmd.gateway.link.acknowledgements import Acknowledgements
from cmmd.gateway.link.command_executor import WAITING_COMMANDS, CommandExecutor, Say
from cmmd.gateway.link.connection import Command, LinkError, NotAnswered, ServerAnswer, ServerConnection
from cmmd.gateway.link.orders import Answers, LinkCounters, Orders
from cmmd.gateway.link.source import Source
from cmmd.gateway.link.uploads import Keeper, Uploads
from cmmd.wire.messages import Heartbeat, LongCon, ReqData, ReqDataChange, Timing, TimingAnswer
from cmmd.wire.quoting import quoted
from cmmd.wire.retcodes import Retcode

__all__ = ["MOST_REFUSALS", "NOT_OURS", "TIMING_INTERVAL_S", "WAITING_COMMANDS", "Session", "SessionTerms"]

FIRST_HEARTBEAT_S = 2.0
"""The first heartbeat comes at a random time within this, after attaching."""

TIMING_INTERVAL_S = 86_400.0
"""How often the server's clock is requested in a session that lasts."""

MOST_REFUSALS = 5
"""Uploads in a row, or heartbeats, that a server may refuse before the device logs in again. 000006 does not count: the
server knows us and cannot take it now, and a login would not change that (section 6)."""

NOT_OURS = {Retcode.UNKNOWN_DEVICE, Retcode.WRONG_PASSWORD, Retcode.NOT_ENROLLED}
"""The server does not know us any more: time to log in again."""

_LONGEST_TIME = 16  # digits of milliseconds


class SessionTerms(Struct, frozen=True, kw_only=True):
    """The terms that all sessions of a link have in common.

    :ivar clock: all time; :ivar now: Unix time in seconds. :ivar ticks: seconds of a clock that is never set.
    :ivar heartbeat_interval: seconds.
    :ivar answers: how answers to orders go out.
    :ivar clock_learnt: told what the server's clock showed when the ticks were 0, Unix time in seconds.
    :ivar acknowledgements: tells them from orders.
    :ivar stops: the stops that are being carried out. The end of a session does not cancel them.
    """

    clock: IReactorTime
    now: Callable[[], float]
    ticks: Callable[[], float]
    random: Random
    counters: LinkCounters
    log: Logger
    heartbeat_interval: float
    answers: Answers
    clock_learnt: Callable[[float], None]
    acknowledgements: Acknowledgements
    stops: set[Deferred[None]]


class Session:
    """One long connection from LongCon to its end.

    :param connection: just connected to the server's liveData address.
    :param attached: called when the server has accepted LongCon.
    :ivar attached_at: when that was, in seconds of the clock; None: not yet.
    :ivar time_asked: whether the server has answered what time it is, with sense or without, or has had time to.
    """

    def __init__(
        self,
        connection: ServerConnection,
        source: Source,
        orders: Orders,
        terms: SessionTerms,
        attached: "Callable[[Session], None]" = lambda _: None,
    ) -> None:
        self._connection = connection
        self._source = source
        self._hostid = source.identity().hostid
        self._terms = terms
        self._clock = terms.clock
        self._attached = attached
        self._ended: Deferred[BaseException | None] = Deferred()  # with the reason; None: a reset
        self._tasks: set[Deferred[None]] = set()
        self._uploading = DeferredLock()
        self._obedience = CommandExecutor(
            source,
            hostid=self._hostid,
            answers=terms.answers,
            clock=terms.clock,
            counters=terms.counters,
            log=terms.log,
            acknowledgements=terms.acknowledgements,
            begin=self.begin,
            begin_stop=partial(self._run_in, terms.stops),
            restart=lambda: self._end(None),
            over=self._over,
        )
        self._uploads = Uploads(source, self, orders, clock=terms.clock, random=terms.random, counters=terms.counters)
        self._refusals = 0
        self._in_a_row: Counter[str] = Counter()  # refusals by method
        self.attached_at: float | None = None
        self.time_asked = False
        self._asking_time = DeferredLock()
        self._server_zero: float | None = None  # the server's time when the ticks were 0
        connection.on_command = self._command_received
        connection.on_end = self._end

    async def run(self) -> None:
        """Attach, and return once the server has ordered a reset and was answered.

        :raises LinkError: everything else that ends a session.
        """
        try:
            await self._attach()
            why = await self._ended
        finally:
            self._end(None)  # also where it was never attached
            if self.attached_at is not None:
                self._terms.counters.online -= 1
            for running in list(self._tasks):
                running.cancel()
            self._obedience.end()
        if why is not None:
            raise why

    async def _attach(self) -> None:
        answer = await self._connection.ask(LongCon(hostid=self._hostid), "LongCon")
        if answer.retcode != Retcode.OK:
            raise LinkError(f"LongCon refused, retcode {quoted(answer.retcode)}")
        self.attached_at = self._clock.seconds()
        self._terms.counters.online += 1
        self._terms.log.info("{hostid} is online", hostid=self._hostid)
        for task in (self._ask_time(), self._heartbeats(), self._uploads.run()):
            self.begin(task)
        self._obedience.start()
        self._attached(self)
        self.begin(self._uploads.say_inputs())  # behind the above: a keeper has to know of them

    def begin(self, coroutine: Coroutine[Any, Any, None]) -> None:
        """Do something beside everything else, until it is done or the session ends. If it fails, the session ends.

        After the session's end nothing is begun.
        """
        if self._over():
            coroutine.close()
        else:
            self._run_in(self._tasks, coroutine)

    def _run_in(self, tasks: set[Deferred[None]], coroutine: Coroutine[Any, Any, None]) -> None:
        """Do something beside everything else, and have it among these tasks until it is done."""
        task = Deferred.fromCoroutine(coroutine)
        tasks.add(task)
        task.addErrback(self._task_failed).addBoth(lambda _: tasks.discard(task))

    def _task_failed(self, failure: Failure) -> None:
        cancelled = failure.check(CancelledError)  # by the source: we ourselves cancel only what has ended
        self._end(LinkError("the source gave up") if cancelled else failure.value)

    def _end(self, why: BaseException | None) -> None:
        """End the session; None: in good order. Only the first reason counts."""
        if not self._over():
            self._ended.callback(why)

    def _over(self) -> bool:
        return bool(self._ended.called)

    def _sleep(self, seconds: float) -> Deferred[None]:
        return deferLater(self._clock, seconds)

    def keep(self, keeper: Keeper) -> None:
        """Keep, from now on, every upload that the server does not receive."""
        self._uploads.keeper = keeper

    def judge(self, answer: ServerAnswer, *, values: bool = True) -> bool:
        """Tell whether the server took what it answers.

        :param values: False: it answers a packet without values. That says nothing about whether the server takes
            those, so that it neither counts among refusals in a row nor ends such a row.
        :raises LinkError: it does not know us any more, or refuses and refuses: time to log in again.
        """
        method = answer.method
        if answer.retcode == Retcode.OK:
            if values:
                self._in_a_row.pop(method, None)
            return True
        if answer.retcode in NOT_OURS:
            raise LinkError(f"{method} refused, retcode {answer.retcode}")
        self._terms.counters.refused += 1
        self._refusals += 1
        if self._refusals == 1:
            self._terms.log.warn(
                "{hostid}: {method} refused, retcode {retcode}; more of that in this session is only counted",
                hostid=self._hostid,
                method=method,
                retcode=quoted(answer.retcode),
                reason="refused by the server",
            )
        if values and answer.retcode != Retcode.TRY_AGAIN:
            self._in_a_row[method] += 1
            if self._in_a_row[method] == MOST_REFUSALS:
                raise LinkError(f"{method} refused {MOST_REFUSALS} times in a row, retcode {quoted(answer.retcode)}")
        return False

    # --- what we say by ourselves ------------------------------------------------------------------------------------

    async def _ask_time(self) -> None:
        """Learn the server's clock, now and then (4.7). Where it has none, or never answers, the session continues."""
        while True:
            await self.ask_time()
            await self._sleep(TIMING_INTERVAL_S)

    async def ask_time(self) -> None:
        """Ask for the server's clock. Ours may be put right before the answer comes, so it is measured by the ticks.

        Where the server does not answer, what was learnt before stays.

        :raises LinkError: the connection has ended.
        """
        await self._asking_time.acquire()
        try:
            asked = self._terms.ticks()
            answer = await self._connection.ask(Timing(hostid=self._hostid), "timing")
            answered = self._terms.ticks()
        except NotAnswered as error:
            if not self.time_asked:
                self._terms.log.info("{hostid}: {error}", hostid=self._hostid, error=error)
            self.time_asked = True
            return
        finally:
            self._asking_time.release()
        if isinstance(answer, TimingAnswer) and answer.result.isdecimal() and len(answer.result) <= _LONGEST_TIME:
            self._server_zero = int(answer.result) / 1000 - (asked + answered) / 2
            self._terms.clock_learnt(self._server_zero)
        self.time_asked = True

    @property
    def server_now(self) -> float | None:
        """Compute the time of the server's clock, Unix seconds, right or wrong; None: not known."""
        return None if self._server_zero is None else self._server_zero + self._terms.ticks()

    @property
    def clock_offset(self) -> float | None:
        """The server's clock minus ours, in seconds; None: not known."""
        server_now = self.server_now
        return None if server_now is None else server_now - self._terms.now()

    async def _heartbeats(self) -> None:
        """Send HB at its interval (4.3)."""
        await self._sleep(self._terms.random.uniform(0, FIRST_HEARTBEAT_S))
        while True:
            self.judge(await self._connection.ask(Heartbeat(hostid=self._hostid, params=""), "HB"))
            await self._sleep(self._terms.heartbeat_interval)

    async def upload(self, message: ReqData | ReqDataChange) -> ServerAnswer:
        """Upload something and wait for the answer; one upload at a time.

        :raises LinkError: no answer; the session ends.
        """
        await self._uploading.acquire()
        try:
            if self._over():
                raise LinkError("the session has ended")
            return await self._connection.ask(message, "reqdata")
        finally:
            self._uploading.release()

    # --- what the server orders --------------------------------------------------------------------------------------

    @property
    def obeying(self) -> bool:
        """Tell whether an order is being carried out, or waits for that."""
        return self._obedience.busy

    def obey(self, command: Command, say: Say) -> None:
        """Carry out what came on this connection or on another one of the device.

        :param say: sends the answer there.
        """
        self._obedience.take(command, say)

    def _command_received(self, command: Command) -> None:
        self.obey(command, self._connection.send)
