"""The device's side of the protocol: log in, stay attached, come back (protocol section 1 and 4)."""

from collections.abc import Callable, Collection
from functools import partial
from random import Random
from typing import Any

from msgspec import UNSET
from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred, gatherResults
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from cmmd.backoff import Backoff
from cmmd.gateway.link.acknowledgements import Acknowledgements
from cmmd.gateway.link.address import Address, EndpointFactory, parse_address, plain_hosts
from cmmd.gateway.link.connection import Connector, LinkError, Standstill, never_stood_still
from cmmd.gateway.link.orders import Answers, LinkCounters, Orders, at_once
from cmmd.gateway.link.session import Session, SessionTerms
from cmmd.gateway.link.source import Source
from cmmd.gateway.store_and_forward.backfill import EARLIEST_S
from cmmd.gateway.store_and_forward.store_and_forward import OutageTerms, StoreAndForward
from cmmd.wire.messages import Login, LoginAnswer, LoginResult
from cmmd.wire.quoting import quoted

__all__ = ["HEARTBEAT_INTERVAL_S", "Link"]

HEARTBEAT_INTERVAL_S = 60.0

FIRST_WAIT_S, LONGEST_WAIT_S = 1.5, 30.0

GOOD_SESSION_S = 30.0
"""A session that lasted as long as this starts the back-off over."""

RESTART_S = 1.0
"""How long a device takes to restart after a reset, about."""

REWIRE_AGAIN_S = 3600.0
"""How long another wiring that could not be had is left alone: trying it may interrupt the one that works."""

WORTH_TELLING_S = 1.0
"""By how much the server's clock has to be from ours, or from where it was told to be, for a line in the log."""


class Link(Service):
    """Keeps one device connected to a server for as long as the service runs.

    Login on a short connection, then the long connection to the address of the login answer. Every failure ends
    with a wait and another login; a new reason is logged once, not again as long as it stays the same.

    :param source: what is uploaded, and what obeys.
    :param server: where to log in.
    :param clock: all time.
    :param endpoints: the way to an address.
    :param random: all chance: jitter of uploads, heartbeats and waits.
    :param counters: where to count; may be shared between links.
    :param follow: whether uploads go where a login answer says; False: to ``server``, too.
    :param follow_hosts: hosts that a login answer can name, beside that of ``server`` and the address it was reached
        at; where it names another one, uploads go to ``server``. ``*`` or None: any.
    :param data_mode: 0 or 1 overrides what the server orders.
    :param heartbeat_interval: seconds.
    :param first_delay: seconds between the start of the service and the first login.
    :param answers: how answers to the server's orders go out.
    :param log: takes the few lines that a link has to say.
    :param now: Unix time in seconds; None: the clock's.
    :param outages: how the times without a session are bridged; None: they are not.
    :param stood_still: see ServerConnection.
    :param follow_wiring: whether a port or baud rate in the login answer that differs from what was told is an order,
        as with cmmd; other servers only repeat what was told.
    :ivar session: the session that is open, attached or about to be; None: there is none.
    :ivar clock_offset: the server's clock minus ours when it was last asked, in seconds; None: not known. A server that
        tells a time before 2024 does not know it either.
    :ivar outages: what is done about the times without a session; None: nothing.
    """

    def __init__(
        self,
        source: Source,
        server: Address,
        *,
        clock: IReactorTime,
        endpoints: EndpointFactory,
        random: Random,
        counters: LinkCounters | None = None,
        follow: bool = True,
        follow_hosts: Collection[str] | None = None,
        data_mode: int | None = None,
        heartbeat_interval: float = HEARTBEAT_INTERVAL_S,
        first_delay: float = 0.0,
        answers: Answers = at_once,
        log: Logger | None = None,
        now: Callable[[], float] | None = None,
        outages: OutageTerms | None = None,
        stood_still: Standstill = never_stood_still,
        follow_wiring: bool = False,
    ) -> None:
        self.counters = LinkCounters() if counters is None else counters
        self.session: Session | None = None
        self._source = source
        self._server = server
        self._clock = clock
        self._random = random
        self._follow = follow
        self._follow_hosts = None if follow_hosts is None or "*" in follow_hosts else plain_hosts(follow_hosts)
        self._reached = ""  # the address of the server that we logged in at
        self._not_followed = ""  # said last
        self._follow_wiring = follow_wiring
        self._wiring_refused: tuple[int | None, int | None] = (None, None)  # what could not be done
        self._rewire_from = 0.0  # when that may be tried again
        self._data_mode = data_mode
        self._first_delay = first_delay
        self._log = Logger() if log is None else log
        self._now = clock.seconds if now is None else now
        self._ticks = clock.seconds if outages is None else outages.ticks
        self._connector = Connector(endpoints, clock, self._log, stood_still)
        self._terms = SessionTerms(
            clock=clock,
            now=self._now,
            ticks=self._ticks,
            random=random,
            counters=self.counters,
            log=self._log,
            heartbeat_interval=heartbeat_interval,
            answers=answers,
            clock_learnt=self._clock_learnt,
            acknowledgements=Acknowledgements(clock, self._log),
            stops=set(),
        )
        self._backoff = Backoff(FIRST_WAIT_S, LONGEST_WAIT_S, random)
        self._last_reason = ""
        self._running: Deferred[None] | None = None
        self.clock_offset: float | None = None
        self._offset_told = 0.0
        self.outages: StoreAndForward | None = None
        if outages is not None:
            self.outages = StoreAndForward(
                outages, source, self._connector, clock=clock, now=self._now, random=random, log=self._log
            )

    def startService(self) -> None:
        """Start connecting to the server."""
        super().startService()
        self._backoff.reset()
        self._last_reason = ""
        self._running = Deferred.fromCoroutine(self._run())
        self._running.addErrback(self._over)

    def stopService(self) -> Deferred[None] | None:
        """Close the connection to the server.

        :return: fires when it is closed, and each stop that has come is carried out; nothing is left behind.
        """
        super().stopService()
        running, self._running = self._running, None
        if running is None:
            return None
        running.cancel()
        return gatherResults([running, *self._terms.stops]).addCallback(lambda _: None)

    def _over(self, failure: Failure) -> None:
        failure.trap(CancelledError)

    async def _run(self) -> None:
        if self.outages is None:
            await self._come_and_go()
            return
        try:
            await self.outages.open()
            await self._come_and_go()
        finally:
            await self.outages.close()

    async def _come_and_go(self) -> None:
        await self._sleep(self._first_delay)
        while True:
            try:
                result = await self._login()
                if self._follow_wiring and await self._rewired(result):
                    result = await self._login()  # it tells how it is wired now
                await self._attend(result)
                pause = RESTART_S * self._random.uniform(0.5, 1.5)
            except CancelledError:
                raise
            except LinkError as error:
                pause = self._backoff.next()
                self._failed(str(error), pause)
            except Exception as error:  # our bug: the link lives on
                pause = self._backoff.next()
                self._log.failure("{hostid}: {reason}", hostid=self._hostid, reason=f"bug: {type(error).__name__}")
            await self._sleep(pause)

    async def _login(self) -> LoginResult:
        """Log in on a short connection (4.1).

        :raises LinkError: it did not come to an answer, or the answer is no.
        """
        connection = await self._connector.connect(self._server)
        self._reached = connection.peer_host
        try:
            answer = await connection.ask(Login(params=self._source.identity()), "login")
        finally:
            await connection.close()
        assert isinstance(answer, LoginAnswer)  # the only one of this method
        if answer.result.register != 1:
            raise LinkError(f"login refused, retcode {quoted(answer.retcode)}")
        self.counters.logins += 1
        return answer.result

    async def _rewired(self, result: LoginResult) -> bool:
        """Have the controller wired as a login answer has it, where that is not as we are (an override of cmmd's).

        Not while remote control is inhibited; what could not be done is tried again after :data:`REWIRE_AGAIN_S`.

        :return: whether anything was changed.
        """
        told = self._source.identity()
        port = None if result.modulePort in (UNSET, told.modulePort) else result.modulePort
        # A speed that was not told has no code; what the server says of it is what it was told long ago.
        baud = None if result.moduleBaud in (UNSET, told.moduleBaud) or told.moduleBaud is None else result.moduleBaud
        if (port, baud) == (None, None) or self._source.inputs().inhibit_remote == 1:
            return False
        if (port, baud) == self._wiring_refused and self._clock.seconds() < self._rewire_from:
            return False
        done = await self._source.set_port(port, baud)
        self._wiring_refused = (None, None) if done else (port, baud)
        self._rewire_from = self._clock.seconds() + REWIRE_AGAIN_S
        return done

    async def _attend(self, result: LoginResult) -> None:
        """Hold the long connection; return after a reset.

        :raises LinkError: the orders make no sense, or the session came to its end.
        """
        orders = Orders.of(result, self._data_mode)
        live, historic = self._take_orders(result, orders)
        connection = await self._connector.connect(live)
        self.session = Session(connection, self._source, orders, self._terms, partial(self._attached, live, historic))
        try:
            await self.session.run()
        finally:
            attached_at, self.session = self.session.attached_at, None
            if attached_at is not None and self._clock.seconds() - attached_at >= GOOD_SESSION_S:
                self._backoff.reset()
                self._last_reason = ""
            if self.outages is not None:
                self.outages.resume()
            await connection.close()

    def _take_orders(self, result: LoginResult, orders: Orders) -> tuple[Address, Address]:
        """Follow what a login answer says.

        :return: the addresses for live uploads and for history.
        :raises LinkError: it makes no sense.
        """
        try:
            self._source.follow(result.para_command, orders.data_mode)
        except ValueError as error:
            raise LinkError(f"the server's para_command makes no sense: {quoted(error)}") from None
        if self.outages is not None:
            self.outages.ordered(result.para_command, orders.upload_period)
        if not self._follow:
            return self._server, self._server
        try:
            live = parse_address(result.liveData)
        except ValueError as error:
            raise LinkError(f"the server's liveData makes no sense: {error}: {quoted(result.liveData)}") from None
        try:
            historic = parse_address(result.historic)
        except ValueError:  # it has none of its own
            historic = live
        return self._allowed(live, self._server), self._allowed(historic, self._allowed(live, self._server))

    def _allowed(self, address: Address, instead: Address) -> Address:
        """Choose the address of uploads: the server's, if that host is possible; else another one."""
        if self._follow_hosts is None or plain_hosts([address.host]) & (
            self._follow_hosts | plain_hosts([self._server.host, self._reached])
        ):
            return address
        if self._not_followed != address.host:
            self._not_followed = address.host
            self._log.warn(
                "{hostid}: the server names {host}, which is not in server.follow_hosts; uploads go to {instead}",
                hostid=self._hostid,
                host=quoted(address.host),
                instead=str(instead),
                reason="not followed",
            )
        return instead

    def _attached(self, live: Address, historic: Address, session: Session) -> None:
        if self.outages is not None:
            self.outages.attached(session, self._hostid, live, historic)

    def _clock_learnt(self, server_zero: float) -> None:
        server_now = server_zero + self._ticks()
        if server_now < EARLIEST_S:
            return
        offset_s = server_now - self._now()
        self.clock_offset = offset_s
        if abs(offset_s - self._offset_told) > WORTH_TELLING_S:
            self._offset_told = offset_s
            self._log.info(
                "{hostid}: the server's clock is {offset_s:+.1f} s from ours", hostid=self._hostid, offset_s=offset_s
            )
        if self.outages is not None:
            self.outages.clock_learnt(server_zero)

    def _failed(self, reason: str, pause: float) -> None:
        self.counters.failures += 1
        if reason != self._last_reason:
            self._last_reason = reason
            self._log.warn(
                "{hostid}: {reason}; next attempt in {pause:.1f} s", hostid=self._hostid, reason=reason, pause=pause
            )

    def _sleep(self, seconds: float) -> Deferred[Any]:
        return deferLater(self._clock, seconds)

    @property
    def _hostid(self) -> str:
        return self._source.identity().hostid
