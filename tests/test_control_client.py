"""The client: nothing is asked twice, and what is not known is said to be so."""

import re
from collections.abc import Callable
from itertools import pairwise
from typing import Any

from twisted.internet import reactor as _reactor
from twisted.internet.address import UNIXAddress
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import ConnectError
from twisted.internet.interfaces import IProtocolFactory, IStreamClientEndpoint
from twisted.internet.task import Clock, deferLater
from twisted.protocols import amp
from twisted.trial.unittest import SynchronousTestCase, TestCase
from zope.interface import implementer

from cmmd.control import commands, errors
from cmmd.control.client import ControlClient
from cmmd.control.control_server import ControlServer
from cmmd.control.link import ALIVE_S, ATTEMPT_S, LONGEST_RETRY_S, RETRY, Ask, Link, Notification
from cmmd.control.listeners import unix_doors
from cmmd.fleet.events import Kind
from cmmd.fleet.service.records import Changes
from cmmd.wire.messages import WriteConfigAnswer
from tests.control_world import ControlWorld, folder, now, opened, until
from tests.support import REPOSITORY
from tests.transports import MemoryTransport
from tests.uploads import HGM6120N_PLAN, full_upload
from tests.world import HOSTID

reactor: Any = _reactor
OTHER = "AAAAAAAAAAAAAAAAAAAAAAAA"
RETRY_S = 1.0


@implementer(IStreamClientEndpoint)
class _Endpoint:
    """Connections as a test wants them."""

    def __init__(self) -> None:
        self.attempts = 0
        self.refuses = False
        self.hangs = False
        self.transports: list[MemoryTransport] = []

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[Any]:  # noqa: N803
        self.attempts += 1
        if self.hangs:
            return Deferred()
        if self.refuses:
            return fail(ConnectError(string="refused"))
        protocol: Any = protocolFactory.buildProtocol(UNIXAddress(None))
        transport = MemoryTransport(protocol)
        protocol.makeConnection(transport)
        self.transports.append(transport)
        return succeed(protocol)

    def asked(self) -> list[bytes]:
        """The commands that have come on the newest connection since this was last asked; Status is answered."""
        transport = self.transports[-1]
        boxes = amp.parseString(transport.value())
        transport.clear()
        for box in boxes:
            if box[b"_command"] == b"Status":
                transport.protocol.dataReceived(amp.Box({b"_answer": box[b"_ask"], b"status": STATUS}).serialize())
        return [box[b"_command"] for box in boxes]


def _status() -> bytes:
    box = amp.Box()
    commands.Status.response[0][1].toBox(b"status", box, {"status": ControlWorld().operations.status()}, None)
    text: bytes = box[b"status"]
    return text


STATUS = _status()


class LinkTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock, self.endpoint = Clock(), _Endpoint()
        self.news: list[Notification] = []
        self.link = self.made(lambda _: RETRY_S)

    def made(self, retry: Callable[[int], float]) -> Link:
        return Link(self.endpoint, self.clock, hear=self.news.append, greet=self.greet, retry=retry)

    async def greet(self, ask: Ask) -> None:
        await ask(commands.Status)

    def ask(self, command: type[amp.Command] = commands.Reset, **arguments: Any) -> Deferred[Any]:
        return Deferred.fromCoroutine(self.link.ask(command, hostid=HOSTID, **arguments))

    def connected(self) -> None:
        self.link.start()
        self.assertEqual(self.endpoint.asked(), [b"Status"])

    def test_not_started(self) -> None:
        self.failureResultOf(self.ask(), errors.CannotConnect)

    def test_unanswered_at_the_end(self) -> None:
        self.connected()
        asked = self.ask()
        self.assertEqual(self.endpoint.asked(), [b"Reset"])
        self.assertNoResult(asked)
        now(self.link.stop())
        self.failureResultOf(asked, errors.OutcomeUnknown)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_no_request_waits_for_a_connection(self) -> None:
        """Whatever the link is doing: an old start must not be sent when the daemon comes back."""
        self.endpoint.hangs = True
        self.link.start()
        self.failureResultOf(self.ask(), errors.CannotConnect)
        self.endpoint.hangs, self.endpoint.refuses = False, True
        self.clock.advance(ATTEMPT_S)
        self.failureResultOf(self.ask(), errors.CannotConnect)
        self.endpoint.refuses = False
        self.clock.advance(RETRY_S)
        self.failureResultOf(self.ask(), errors.CannotConnect)  # it is greeted
        self.assertEqual(self.endpoint.asked(), [b"Status"])
        self.assertEqual(self.endpoint.asked(), [])
        asked = self.ask()
        self.endpoint.transports[-1].lose()
        self.failureResultOf(asked, errors.OutcomeUnknown)
        self.failureResultOf(self.ask(), errors.CannotConnect)
        self.clock.advance(RETRY_S)
        self.assertEqual(self.endpoint.asked(), [b"Status"])
        self.assertEqual(self.endpoint.asked(), [])

    def outcome(self) -> Deferred[None]:
        """What becomes of waiting for the first attempt, as far as it is known now."""
        connected = self.link.connected()
        self.clock.advance(0)
        return connected

    def test_waiting_for_the_first_attempt(self) -> None:
        self.failureResultOf(self.outcome(), errors.CannotConnect)
        self.link.start()
        waiting = self.outcome()
        self.assertNoResult(waiting)
        self.assertEqual(self.endpoint.asked(), [b"Status"])
        self.clock.advance(0)
        self.successResultOf(waiting)
        self.successResultOf(self.outcome())
        self.endpoint.refuses = True
        self.endpoint.transports[-1].lose()
        self.failureResultOf(self.outcome(), errors.CannotConnect)
        self.clock.advance(RETRY_S)
        self.failureResultOf(self.outcome(), errors.CannotConnect)
        now(self.link.stop())

    def test_who_is_told_of_the_connection_may_stop_it(self) -> None:
        self.link.start()
        stopped = self.link.connected().addCallback(lambda _: self.link.stop())
        self.endpoint.asked()
        self.clock.advance(0)
        self.successResultOf(stopped)
        self.assertTrue(self.endpoint.transports[-1].lost)

    def test_thousands_of_failed_attempts(self) -> None:
        """About three hours without a daemon: 2.0 ** 1024 is too large for a float."""
        self.link = self.made(RETRY)
        self.endpoint.refuses = True
        self.link.start()
        for attempts in range(1, 1200):
            self.assertEqual(self.endpoint.attempts, attempts)
            self.clock.advance(LONGEST_RETRY_S + 1)
        self.endpoint.refuses = False
        self.clock.advance(LONGEST_RETRY_S + 1)
        self.assertEqual(self.endpoint.asked(), [b"Status"])
        asked = self.ask()
        self.assertEqual(self.endpoint.asked(), [b"Reset"])
        now(self.link.stop())
        self.failureResultOf(asked, errors.OutcomeUnknown)

    def test_nothing_is_sent_later(self) -> None:
        self.endpoint.refuses = True
        self.link.start()
        error = self.failureResultOf(self.ask(), errors.CannotConnect)
        self.assertIn("refused", str(error.value))
        self.endpoint.refuses = False
        self.clock.advance(LONGEST_RETRY_S)
        self.assertEqual(self.endpoint.asked(), [b"Status"])
        self.assertEqual(self.endpoint.asked(), [])

    def test_an_attempt_that_takes_too_long(self) -> None:
        self.endpoint.hangs = True
        self.link.start()
        self.clock.advance(ATTEMPT_S)
        error = self.failureResultOf(self.ask(), errors.CannotConnect)
        self.assertEqual(str(error.value), "no answer in time")

    def test_lost_in_flight_is_not_asked_again(self) -> None:
        self.connected()
        asked = self.ask()
        self.assertEqual(self.endpoint.asked(), [b"Reset"])
        self.endpoint.transports[-1].lose()
        self.failureResultOf(asked, errors.OutcomeUnknown)
        self.failureResultOf(self.ask(), errors.CannotConnect)
        self.clock.advance(RETRY_S)
        self.assertEqual(self.endpoint.asked(), [b"Status"])
        self.assertEqual((self.endpoint.asked(), self.endpoint.attempts), ([], 2))
        self.assertNoResult(self.ask())
        self.assertEqual(self.endpoint.asked(), [b"Reset"])

    def test_lost_while_greeting(self) -> None:
        self.link.start()
        connected = self.link.connected()
        self.endpoint.transports[-1].lose()
        self.clock.advance(0)
        self.failureResultOf(connected, errors.CannotConnect)
        self.clock.advance(RETRY_S)
        self.assertEqual(self.endpoint.asked(), [b"Status"])

    def test_greeting_that_is_not_answered(self) -> None:
        self.link.start()
        self.clock.advance(ATTEMPT_S)
        self.failureResultOf(self.ask(), errors.CannotConnect)
        self.assertTrue(self.endpoint.transports[-1].lost)

    def test_back_off(self) -> None:
        self.link = self.made(RETRY)
        self.endpoint.refuses = True
        self.link.start()
        attempts = []
        for _ in range(8):
            self.clock.advance(LONGEST_RETRY_S + 1)  # the back-off adds up to a second at random
            attempts.append(self.endpoint.attempts)
        self.assertEqual([after - before for before, after in pairwise(attempts[3:])], [1] * 4)

    def test_daemon_that_answers_no_more(self) -> None:
        self.connected()
        asked = self.ask()
        self.endpoint.asked()
        self.clock.advance(ALIVE_S)  # it has just answered
        self.clock.advance(ALIVE_S)  # it is asked whether it lives
        self.assertNoResult(asked)
        self.clock.advance(ALIVE_S)
        self.failureResultOf(asked, errors.OutcomeUnknown)

    def test_daemon_that_takes_its_time(self) -> None:
        self.connected()
        asked = self.ask()
        looks = 0
        for _ in range(20):
            self.clock.advance(ALIVE_S)
            looks += self.endpoint.asked().count(b"Status")
        self.assertGreater(looks, 10)
        self.assertNoResult(asked)

    def test_daemon_that_has_much_to_say_lives(self) -> None:
        self.connected()
        asked = self.ask()
        answer = amp.Box({b"_answer": b"2", b"x": bytes(100)}).serialize()
        for place in range(40):
            self.clock.advance(ALIVE_S * 0.9)
            self.endpoint.transports[-1].protocol.dataReceived(answer[place : place + 1])
        self.assertNoResult(asked)

    def test_stopped_whatever_it_does(self) -> None:
        for refuses, hangs in ((False, False), (True, False), (False, True)):
            self.endpoint.refuses, self.endpoint.hangs = refuses, hangs
            for advance in (0.0, 0.1):
                self.link.start()
                self.clock.advance(advance)
                now(self.link.stop())
                now(self.link.stop())
                self.assertEqual(self.clock.getDelayedCalls(), [])
                self.failureResultOf(self.ask(), errors.CannotConnect)
        self.endpoint.refuses = self.endpoint.hangs = False
        self.connected()
        now(self.link.stop())
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_arguments_too_long(self) -> None:
        self.connected()
        self.failureResultOf(self.ask(requester="x" * 70_000), errors.BadArgument)
        self.assertEqual(self.endpoint.asked(), [])

    def test_another_version(self) -> None:
        self.connected()
        for answer in (
            {b"_error": b"2", b"_error_code": b"UNHANDLED", b"_error_description": b"?"},
            {b"_error": b"3", b"_error_code": b"NEW_CODE", b"_error_description": b"?"},
            {b"_answer": b"4", b"other": b"x"},
        ):
            asked = self.ask()
            self.endpoint.asked()
            self.endpoint.transports[-1].protocol.dataReceived(amp.Box(answer).serialize())
            self.failureResultOf(asked, errors.NotUnderstood)


class ClientTests(TestCase):
    timeout = 180

    def setUp(self) -> None:
        self.state = folder(self)
        self.control = ControlWorld()
        self.control.online()
        self.news: list[Notification] = []

    async def open(self) -> ControlServer:
        return await opened(self, self.control, unix_doors(["unix:control.sock"], self.state, reactor))

    def client(self) -> ControlClient:
        client = ControlClient(f"unix:{self.state}/control.sock", reactor, requester="alice")
        self.addCleanup(client.stop)
        return client

    async def started(self) -> ControlClient:
        client = self.client()
        client.start()
        await client.connected()
        return client

    async def back(self, client: ControlClient) -> None:
        """Wait until a client has found the daemon again."""
        while True:
            try:
                await client.status()
            except errors.CannotConnect:
                await deferLater(reactor, 0.01)
            else:
                return

    def obey(self, outcome: int = 1) -> Deferred[None]:
        async def obeyed() -> None:
            await until(lambda: self.control.sent)
            self.control.sent.pop(0).obeyed(outcome)

        return Deferred.fromCoroutine(obeyed())

    async def test_nobody_there(self) -> None:
        try:
            async with self.client():
                self.fail("there is nobody")
        except errors.CannotConnect as error:
            self.assertIn("No such file", str(error))

    async def test_reading(self) -> None:
        await self.open()
        self.control.fleet.uploads.full(full_upload(), HGM6120N_PLAN, historic=False)
        self.control.world.write_batch()
        async with self.client() as client:
            self.assertEqual((await client.status()).online, 1)
            self.assertEqual([one.hostid async for one in client.devices()], [HOSTID])
            self.assertEqual([one.hostid async for one in client.devices(online=False)], [])
            self.assertEqual((await client.device(HOSTID)).row.hostname, "Genset 1")
            live = await client.live(HOSTID, raw=True)
            self.assertEqual((live.view.mode, live.raw is not None), ("auto", True))
            readings = [one async for one in client.history(HOSTID, points=["mains_frequency"])]
            self.assertEqual([one.points for one in readings], [{"mains_frequency": 50.0}])
            kinds = [one.kind async for one in client.events(HOSTID)]
            self.assertEqual(kinds, ["device_registered", "online"])
            backwards = [one.kind async for one in client.events(HOSTID, newest_first=True)]
            self.assertEqual(backwards, kinds[::-1])
            self.assertEqual([one async for one in client.alarms(HOSTID, ended=True)], [])
            with self.assertRaises(errors.NoSuchAlarm):
                await client.acknowledge(1)

    async def test_devices(self) -> None:
        await self.open()
        async with self.client() as client:
            device = await client.enrol(OTHER, hostname="Genset 7", password="secret")
            self.assertEqual((device.row.hostname, device.has_password), ("Genset 7", True))
            device = await client.set_device(OTHER, Changes(enabled=False))
            self.assertFalse(device.settings.enabled)

    async def test_commands(self) -> None:
        await self.open()
        async with self.client() as client:
            self.obey()
            ended = await client.send_command(HOSTID, "auto", timeout=5)
            self.assertEqual((ended.outcome, ended.reply), ("done", "00050003FF007DEB,1"))
            self.obey(0)
            self.assertEqual((await client.write_config(HOSTID, "00050003FF00")).outcome, "refused")
            self.obey()
            self.assertEqual((await client.reset(HOSTID)).outcome, "done")
            port = Deferred.fromCoroutine(client.write_port(HOSTID, 2, 0))
            waiting = Deferred.fromCoroutine(client.reset(HOSTID))
            await until(lambda: self.control.sent)
            listed = [one async for one in client.commands(HOSTID)]
            self.assertEqual([one.outcome for one in listed], ["done", "refused", "done", None, None])
            self.assertEqual((await client.cancel(listed[4].number)).outcome, "not sent")
            self.assertEqual((await waiting).outcome, "not sent")
            with self.assertRaises(errors.TooLate):
                await client.cancel(listed[3].number)
            self.assertEqual((await client.command(listed[3].number)).kind, "port")
            self.control.sent[0].answer.callback(_ported(self.control.sent[0].message))
            self.assertEqual((await port).outcome, "done")
            with self.assertRaises(errors.UnknownCommand):
                await client.send_command(HOSTID, "explode")

    async def test_daemon_that_ends_in_flight(self) -> None:
        programs = await self.open()
        client = await self.started()
        asked = Deferred.fromCoroutine(client.send_command(HOSTID, "start"))
        await until(lambda: self.control.sent)
        await programs.stop()
        await self.assertFailure(asked, errors.OutcomeUnknown)
        await self.assertFailure(Deferred.fromCoroutine(client.send_command(HOSTID, "start")), errors.CannotConnect)
        again = await self.open()
        await until(lambda: len(again))
        await self.back(client)
        self.assertEqual(len(self.control.sent), 1)

    async def test_watch(self) -> None:
        await self.open()
        client = await self.started()
        await client.watch(self.news.append, live=True, commands=True)
        self.control.fleet.events.emit(Kind.CLOCK_ASKED, HOSTID)
        self.control.fleet.uploads.full(full_upload(), HGM6120N_PLAN, historic=False)
        await until(lambda: self.news)
        news = self.news.pop()
        self.assertEqual(([one.kind for one in news.events], news.live, news.missed), (["clock_asked"], {HOSTID: 1}, 0))
        self.obey()
        await client.send_command(HOSTID, "auto")
        await until(lambda: any(one.outcome for news in self.news for one in news.commands))
        await client.unwatch()

    async def test_watch_goes_on_after_a_restart(self) -> None:
        programs = await self.open()
        client = await self.started()
        await client.watch(self.news.append)
        await programs.stop()
        self.control.fleet.events.emit(Kind.CLOCK_ASKED, HOSTID)
        await self.open()
        await until(lambda: self.news)
        self.assertTrue(self.news.pop().interrupted)
        self.control.fleet.events.emit(Kind.CLOCK_ASKED, HOSTID)
        await until(lambda: self.news)
        self.assertEqual((len(self.news[0].events), self.news[0].interrupted), (1, False))

    async def test_what_a_hearer_raises_does_not_end_the_watch(self) -> None:
        await self.open()
        client = await self.started()

        def hear(news: Notification) -> None:
            self.news.append(news)
            raise ZeroDivisionError

        await client.watch(hear)
        for _ in range(2):
            self.control.fleet.events.emit(Kind.CLOCK_ASKED, HOSTID)
            await until(lambda: self.news)
            self.news.clear()
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 2)

    async def test_slow_hearer_holds_nobody_up(self) -> None:
        await self.open()
        slow, quick = await self.started(), await self.started()
        heard: list[Notification] = []
        hold: Deferred[None] = Deferred()

        def hear_slowly(news: Notification) -> Deferred[None] | None:
            self.news.append(news)
            return hold if len(self.news) == 1 else None

        await slow.watch(hear_slowly)
        await quick.watch(heard.append)
        emitted = 0
        while emitted < 3000:
            for _ in range(500):
                emitted += 1
                self.control.fleet.events.emit(
                    Kind.ALARM_RAISED, HOSTID, alarm=emitted, signal="s", title="t", severity="warning"
                )
            await until(lambda: sum(len(news.events) for news in heard) == emitted)  # noqa: B023
        self.assertEqual((len(self.news), sum(news.missed for news in heard)), (1, 0))
        hold.callback(None)
        await until(lambda: sum(len(news.events) + news.missed for news in self.news) == 3000)
        self.assertEqual(self.news[1].missed + len(self.news[0].events), 2000)


def _ported(message: Any) -> Any:
    return WriteConfigAnswer(
        modulePort=message.modulePort, moduleBaud=message.moduleBaud, hostid=HOSTID, uid=message.uid
    )


class DocumentTests(TestCase):
    """The ten lines of docs/control.md do what they say."""

    timeout = 180

    async def test_example(self) -> None:
        text = (REPOSITORY / "docs" / "control.md").read_text(encoding="utf-8")
        (source,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
        self.assertLessEqual(len([line for line in source.splitlines() if line]), 11)
        state, control = folder(self), ControlWorld()
        control.online()
        await opened(self, control, unix_doors(["unix:control.sock"], state, reactor))
        printed: list[tuple[object, ...]] = []
        names: dict[str, Any] = {"print": lambda *words: printed.append(words)}
        exec(source.replace('"var"', repr(str(state))).replace("react(main)", ""), names)
        ran = Deferred.fromCoroutine(names["main"](reactor))
        await until(lambda: control.sent)
        control.sent[0].obeyed()
        await ran
        self.assertEqual(printed, [(HOSTID, "done", "00050003FF007DEB,1")])
