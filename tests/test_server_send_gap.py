"""Messages of ours go in segments of their own, in a pause, and they do go."""

import json
import socket
import sys
from collections.abc import Callable
from itertools import count
from typing import Any, cast

from msgspec.structs import replace
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ServerEndpoint
from twisted.internet.interfaces import IReactorTime
from twisted.internet.protocol import Factory
from twisted.internet.task import Clock, deferLater
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import SynchronousTestCase, TestCase

from cmmd.server.connection import LINGER_S
from cmmd.server.flow import Outbound
from cmmd.server.listeners import DeviceListeners, Listener, Role
from cmmd.server.receiver import Limits
from cmmd.server.send_gap import LOOK_AGAIN_S, PATIENCE_S, SendGap
from cmmd.server.sockets import unacknowledged, unsent
from cmmd.wire.errors import Reason
from cmmd.wire.messages import Reset, WriteConfig
from tests.plain_device import PlainDevice, message
from tests.test_server_receiver import Echo
from tests.transports import DirectTransport, SegmentTransport
from tests.world import HOSTID, World

GAP_S = 0.2
STEP_S = 0.01
OURS = b'{"ours":1}'
HEARTBEAT = b'{"a":1}'


class PacedTestCase(SynchronousTestCase):
    gap = GAP_S

    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(1_700_000_000.0)
        self.echo = Echo(self.clock, Limits(gap=self.gap))
        self.transport = SegmentTransport(self.echo, seconds=self.clock.seconds)
        self.transport.clock = self.clock  # type: ignore[attr-defined]
        self.transport.connect()
        self.left: list[float] = []

    def send(self, ours: bytes = OURS) -> Callable[[], None]:
        def leaves() -> bool:
            self.left.append(self.clock.seconds())
            return True

        return self.echo.send_unsolicited(ours, leaves)

    def pass_time(self, seconds: float, each_step: Callable[[], object] = lambda: None) -> None:
        for _ in range(round(seconds / STEP_S)):
            each_step()
            self.transport.turns()
            self.clock.advance(STEP_S)
            self.transport.turns()

    def heartbeat(self) -> None:
        self.transport.deliver(HEARTBEAT)

    def each(self, steps: int) -> Callable[[], None]:
        """A heartbeat each so many steps."""
        numbers = count()

        def step() -> None:
            if next(numbers) % steps == 0:
                self.heartbeat()

        return step

    def pauses(self) -> list[tuple[bytes, float]]:
        """Each segment and the seconds of quiet before it."""
        before = [-1e9, *self.transport.left_at]
        return [
            (segment, left - last)
            for segment, left, last in zip(self.transport.segments, self.transport.left_at, before, strict=False)
        ]


class PacingTests(PacedTestCase):
    def test_goes_at_once_where_it_is_quiet(self) -> None:
        self.send()
        self.assertEqual((self.transport.segments, self.left), ([], []))  # not before the caller knows of it
        self.pass_time(STEP_S)
        self.assertEqual(self.transport.segments, [OURS])
        self.assertEqual(len(self.left), 1)

    def test_waits_after_an_answer(self) -> None:
        self.heartbeat()
        self.send()
        self.pass_time(GAP_S - 2 * STEP_S)
        self.assertEqual(self.transport.segments, [HEARTBEAT])
        self.pass_time(3 * STEP_S)
        self.assertEqual(self.transport.segments, [HEARTBEAT, OURS])

    def test_answers_wait_after_it(self) -> None:
        """Documents without an answer do not: what the device says to ours is heard at once."""
        self.send()
        self.pass_time(STEP_S)
        self.transport.deliver(b'{"quiet":1}')
        self.heartbeat()
        self.assertEqual(self.echo.documents, [b'{"quiet":1}', HEARTBEAT])
        self.pass_time(GAP_S - 3 * STEP_S)
        self.assertEqual(self.transport.segments, [OURS])
        self.heartbeat()
        self.assertEqual(self.transport.producerState, "paused")
        self.assertEqual(len(self.echo.documents), 2)
        self.pass_time(4 * STEP_S)
        self.assertEqual(self.transport.segments, [OURS, HEARTBEAT, HEARTBEAT])
        self.assertEqual(self.transport.producerState, "producing")
        self.assertEqual(self.clock.getDelayedCalls(), [self.echo._idle])

    def test_each_in_a_pause_of_its_own_and_in_order(self) -> None:
        for ours in (b"1", b"2", b"3"):
            self.send(ours)
        self.pass_time(1)
        self.assertEqual(self.transport.segments, [b"1", b"2", b"3"])
        for _, quiet in self.pauses():
            self.assertGreaterEqual(quiet, GAP_S - STEP_S / 2)

    def test_goes_while_answers_keep_coming(self) -> None:
        """After a second without a pause one is made for it."""
        for every in (1, 3, 19):
            self.setUp()
            begun = self.clock.seconds()
            self.heartbeat()
            self.send()
            self.pass_time(3, self.each(every))
            self.assertEqual(len(self.left), 1)
            self.assertGreaterEqual(self.left[0] - begun, PATIENCE_S)
            self.assertLess(self.left[0] - begun, PATIENCE_S + GAP_S + 2 * STEP_S)
            place = self.transport.segments.index(OURS)
            for _, quiet in self.pauses()[place : place + 2]:
                self.assertGreaterEqual(quiet, GAP_S - STEP_S / 2)
            self.pass_time(1)
            self.assertEqual(len(self.transport.segments), len(self.echo.documents) + 1)

    def test_does_not_wait_for_a_second_where_there_is_a_pause(self) -> None:
        self.heartbeat()
        self.send()
        self.pass_time(3, self.each(25))
        begun = self.transport.left_at[0]
        self.assertLess(self.left[0] - begun, 2 * GAP_S)

    def test_waits_for_an_answer_that_is_being_found(self) -> None:
        self.transport.deliver(b'{"later":1}')
        self.send()
        self.pass_time(PATIENCE_S - STEP_S)
        self.assertEqual(self.transport.segments, [])
        self.echo.later[0].callback(None)
        self.pass_time(3 * STEP_S)
        self.assertEqual(self.transport.segments, [b"late"])
        self.pass_time(GAP_S)
        self.assertEqual(self.transport.segments, [b"late", OURS])

    def test_does_not_wait_for_an_answer_that_is_not_found(self) -> None:
        """A store that hangs holds no stop back; the answer keeps its pause when it comes."""
        self.transport.deliver(b'{"later":1}')
        self.send()
        self.pass_time(PATIENCE_S + 2 * STEP_S)
        self.assertEqual(self.transport.segments, [OURS])
        self.echo.later[0].callback(None)
        self.pass_time(GAP_S + 3 * STEP_S)
        self.assertEqual(self.transport.segments, [OURS, b"late"])
        _, (_, quiet) = self.pauses()
        self.assertGreaterEqual(quiet, GAP_S - STEP_S / 2)

    def test_answer_that_is_found_to_be_none(self) -> None:
        self.transport.deliver(b'{"later":1}')
        self.send()
        self.pass_time(PATIENCE_S / 2)
        self.patch(self.echo, "send", lambda message: None)
        self.echo.later[0].callback(None)
        self.pass_time(STEP_S)
        self.assertEqual(self.transport.segments, [OURS])

    def test_waits_for_a_peer_that_does_not_read(self) -> None:
        self.transport.peer_reads = False
        self.heartbeat()
        self.send()
        self.pass_time(5)
        self.assertEqual((self.transport.segments, self.left), ([], []))
        self.transport.peer_reads = True
        self.pass_time(GAP_S + 2 * STEP_S)
        self.assertEqual(self.transport.segments, [HEARTBEAT, OURS])

    def test_asked_for_while_a_document_is_handled(self) -> None:
        """The document's answer goes first."""
        answer = self.echo.send
        self.patch(self.echo, "send", lambda message: (self.send(), answer(message)))
        self.heartbeat()
        self.pass_time(1)
        self.assertEqual(self.transport.segments, [HEARTBEAT, OURS])
        self.assertGreaterEqual(self.pauses()[1][1], GAP_S - STEP_S / 2)

    def test_withdrawn(self) -> None:
        self.heartbeat()
        withdraw = self.send(b"no")
        self.send()
        withdraw()
        self.pass_time(1)
        self.assertEqual(self.transport.segments, [HEARTBEAT, OURS])
        withdraw()

    def test_withdrawn_while_answers_are_held_back_for_it(self) -> None:
        withdraw = self.send()
        self.heartbeat()
        self.pass_time(PATIENCE_S - 3 * STEP_S, self.heartbeat)
        withdraw_another = self.send(b"another")
        self.pass_time(5 * STEP_S, self.heartbeat)
        self.assertEqual(self.transport.producerState, "paused")
        withdraw()
        withdraw_another()
        self.pass_time(1)
        self.assertEqual(len(self.transport.segments), len(self.echo.documents))
        self.assertEqual(self.transport.producerState, "producing")

    def test_withdrawn_when_it_has_gone(self) -> None:
        withdraw = self.send()
        self.pass_time(STEP_S)
        withdraw()
        self.pass_time(1)
        withdraw()
        self.assertEqual(self.transport.segments, [OURS])

    def test_withdrawn_between_being_let_go_and_being_taken(self) -> None:
        """As with TLS, where Twisted asks for the next message later."""
        pacing = SendGap(0.0)
        self.echo._flow.pacing = pacing
        withdraw = self.send()
        self.assertTrue(pacing.let_go())
        withdraw()
        self.assertIsNone(pacing.take())
        self.send()
        self.assertIsNone(pacing.take())

    def test_nothing_is_left_of_it(self) -> None:
        self.send()
        self.pass_time(1)
        self.assertIsNone(self.echo._flow.pacing)
        self.assertIs(self.echo._flow.outbound, Outbound.CLEAR)

    def test_answer_that_is_found_in_the_pause_after_it(self) -> None:
        self.send()
        self.pass_time(STEP_S)
        self.transport.deliver(b'{"later":1}{"a":1}')
        self.echo.later[0].callback(None)
        self.send(b"another")
        self.pass_time(1)
        self.assertEqual(self.transport.segments, [OURS, b"late", HEARTBEAT, b"another"])
        self.assertGreaterEqual(self.pauses()[1][1], GAP_S - STEP_S / 2)
        self.assertGreaterEqual(self.pauses()[3][1], GAP_S - STEP_S / 2)

    def test_closing_waits_for_the_answer_in_the_pause(self) -> None:
        """The last answer leaves, alone; another message of ours does not."""
        for half_closed in (False, True):
            self.setUp()
            self.send()
            self.pass_time(STEP_S)
            self.heartbeat()
            self.send(b"no")
            self.echo.close()
            if half_closed:
                self.transport.half_close()
            self.assertFalse(self.transport.write_closed or self.transport.lost)
            self.pass_time(GAP_S + STEP_S)
            self.assertEqual(self.transport.segments, [OURS, HEARTBEAT])
            self.assertTrue(self.transport.write_closed)
            self.assertGreaterEqual(self.pauses()[1][1], GAP_S - STEP_S / 2)
            self.pass_time(LINGER_S)
            self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_dropped_where_the_transport_takes_a_turn_for_it(self) -> None:
        self.patch(self.transport, "abortConnection", lambda: None)
        self.send()
        self.echo.drop(Reason.UNREAD_OUTPUT)
        self.pass_time(1)
        self.assertEqual((self.transport.segments, self.left), ([], []))
        self.transport.hang_up()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_end_in_every_state(self) -> None:
        """No timer is left, nothing goes any more."""

        def waiting() -> None:
            self.heartbeat()
            self.send()

        def just_asked() -> None:
            self.send()

        def held_back() -> None:
            self.heartbeat()
            self.send()
            self.pass_time(PATIENCE_S + 5 * STEP_S, self.heartbeat)

        def just_gone() -> None:
            self.send()
            self.pass_time(STEP_S)
            self.heartbeat()

        for state in (waiting, just_asked, held_back, just_gone):
            for end in ("hang_up", "close", "half_close", "drop"):
                self.setUp()
                state()
                gone = list(self.transport.segments)
                if end == "close":
                    self.echo.close()
                elif end == "drop":
                    self.transport.abortConnection()
                else:
                    getattr(self.transport, end)()
                self.pass_time(LINGER_S + STEP_S)
                self.assertTrue(self.transport.lost)
                self.assertEqual(self.clock.getDelayedCalls(), [], (state, end))
                self.assertEqual(gone.count(OURS), self.transport.segments.count(OURS), (state, end))
                self.send()
                self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_peer_that_has_sent_its_last_gets_its_answers(self) -> None:
        """And nothing of ours, which it would not answer."""
        self.send()
        self.pass_time(STEP_S)
        self.send(b"no")
        self.transport.deliver(HEARTBEAT * 3)
        self.transport.half_close()
        self.send(b"neither")
        self.pass_time(1)
        self.assertEqual(self.transport.segments, [OURS, HEARTBEAT, HEARTBEAT, HEARTBEAT])
        self.assertTrue(self.transport.lost)


class PacingAtOnceTests(PacingTests):
    """The same where answers may be sent at once: on a plain socket."""

    def setUp(self) -> None:
        self.patch(sys.modules[__name__], "SegmentTransport", DirectTransport)
        super().setUp()


class WithoutGapTests(PacedTestCase):
    gap = 0.0
    answered_before = 1  # the turn in which the second document is handled comes after that of our message

    def test_own_segment_without_waiting(self) -> None:
        self.transport.protocol.dataReceived(HEARTBEAT * 3)
        self.send()
        self.send(b"too")
        self.clock.advance(0)
        self.transport.turns()
        self.clock.advance(0)
        before, behind = [HEARTBEAT] * self.answered_before, [HEARTBEAT] * (3 - self.answered_before)
        self.assertEqual(self.transport.segments, [*before, OURS, b"too", *behind])
        self.assertEqual(self.clock.seconds(), self.left[1])

    def test_waits_for_an_answer_that_is_being_found(self) -> None:
        self.transport.deliver(b'{"later":1}')
        self.send()
        self.pass_time(1)
        self.assertEqual(self.transport.segments, [])
        self.echo.later[0].callback(None)
        self.pass_time(STEP_S)
        self.assertEqual(self.transport.segments, [b"late", OURS])


class WithoutGapAtOnceTests(WithoutGapTests):
    answered_before = 2

    def setUp(self) -> None:
        self.patch(sys.modules[__name__], "SegmentTransport", DirectTransport)
        super().setUp()


class CostTests(SynchronousTestCase):
    def test_sessions_have_slots(self) -> None:
        """One attribute that has none costs each session a dictionary."""
        world = World()
        world.register()
        transports = [world.connect() for _ in range(3)]
        for transport in transports:
            transport.deliver(message("LongCon", HOSTID))
        self.assertEqual(vars(transports[-1].protocol), {})
        for transport in transports:
            transport.hang_up()


class KernelTests(SynchronousTestCase):
    def test_what_the_kernel_still_has(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            ours = socket.create_connection(listener.getsockname())
            theirs, _ = listener.accept()
        with ours, theirs:
            self.assertEqual((unacknowledged(ours), unsent(ours)), (0, 0))
            ours.setblocking(False)
            written = 0
            try:
                while True:
                    written += ours.send(bytes(65536))
            except BlockingIOError:
                pass
            self.assertGreater(unsent(ours), 0)
            self.assertGreaterEqual(unacknowledged(ours), unsent(ours))
            self.assertLess(unacknowledged(ours), written)
            for gap in (0.0, GAP_S):
                self.assertEqual(SendGap(gap).pause_missing(1e9, ours), LOOK_AGAIN_S)

    def test_where_there_is_no_socket(self) -> None:
        one, other = socket.socketpair()
        with one, other:
            self.assertEqual([unacknowledged(handle) for handle in (None, object(), one)], [0, 0, 0])


class SocketTests(TestCase):
    """On a real socket, with a device that is nothing but one."""

    gap = GAP_S
    timeout = 180

    async def asyncSetUp(self, limits: Limits) -> None:
        self.world = World()
        self.world.register()
        around = replace(self.world.around, clock=cast("IReactorTime", reactor), limits=limits)
        self.sessions = DeviceListeners(around, 10)
        endpoint = TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1")
        await self.sessions.listen([Listener("tcp:0", endpoint, frozenset(Role))])
        self.addCleanup(lambda: Deferred.fromCoroutine(self.sessions.stop()))
        port = self.sessions.tcp_port("tcp:0")
        assert port is not None
        self.port = port

    async def exchange(self, device: PlainDevice, talk: Callable[[PlainDevice], Any], messages: int) -> Any:
        """Have a device talk in a thread while it is sent messages; each has to go within about a second."""
        talking = deferToThread(talk, device)
        await deferLater(reactor, 0.3)
        carrier = self.world.presence.carrier(HOSTID)
        assert carrier is not None
        for number in range(messages):
            sent: Deferred[None] = Deferred()
            asked: WriteConfig | Reset
            asked = WriteConfig(result="00050003FF007DEB", datatype=1, uid=f"{number:06}") if number else Reset()

            def leaves(sent: Deferred[None] = sent) -> bool:
                sent.callback(None)
                return True

            carrier.round_trip(asked, 30, leaves).addErrback(lambda _: None)
            await sent  # within 30 s, after which it would not be sent at all; how soon, tests with a Clock say
        return await talking

    async def check(self, *, messages: int, gap: float, every: float = 0.0, ahead: int = 1) -> None:
        """Have a device send heartbeats until all is there that it expects of the server.

        :param messages: of ours.
        :param every: seconds between two heartbeats; 0: as soon as there may be another.
        :param ahead: how many may be unanswered.
        """
        await self.asyncSetUp(Limits(gap=gap))
        received: list[bytes] = []

        def talk(device: PlainDevice) -> None:
            sent = answered = ours = 0
            device.socket.settimeout(every or None)
            while ours < messages or answered < sent:
                while ours < messages and sent - answered < ahead:
                    device.send(message("HB", HOSTID, params=""))
                    sent += 1
                    if every:
                        break
                try:
                    received.append(device.socket.recv(65536))
                except TimeoutError:
                    continue
                answered += received[-1].count(b'"HB"')
                ours += received[-1].count(b'"reset"') + received[-1].count(b'"writeConfig"')

        with PlainDevice(self.port) as device:
            await deferToThread(device.ask, message("LongCon", HOSTID))
            await self.exchange(device, talk, messages)
            documents = b"".join(received).replace(b"}{", b"}\n{").split(b"\n")
            methods = [json.loads(document)["method"] for document in documents]
            self.assertEqual(
                [method for method in methods if method != "HB"], ["reset"] + ["writeConfig"] * (messages - 1)
            )
            self.assertIn("HB", methods)
            if ahead == 1:  # no two answers on their way at once: the kernel's count of segments tells
                # It counts one twice that a busy kernel has sent again; two in one would make it too low.
                self.assertGreaterEqual(device.data_segments, 1 + len(documents))
            else:  # answers may share one among each other; what comes in a pause comes alone
                alone = [one for one in received if one.count(b'"method"') == 1 and b'"HB"' not in one]
                self.assertEqual(len(alone), messages)

    async def test_under_a_heartbeat_each_20_ms(self) -> None:
        await self.check(messages=3, gap=self.gap, every=0.02, ahead=1000)

    async def test_under_heartbeats_as_fast_as_answers_come(self) -> None:
        await self.check(messages=3, gap=self.gap)

    async def test_under_heartbeats_far_ahead_of_answers(self) -> None:
        await self.check(messages=2, gap=2 * self.gap, ahead=50)

    async def test_without_a_gap(self) -> None:
        await self.check(messages=300, gap=0.0)

    async def test_what_arrives_between_quiet_gaps_is_one_message(self) -> None:
        """One receive, one object: what modules need."""
        await self.asyncSetUp(Limits(gap=self.gap))

        def talk(device: PlainDevice) -> list[bytes]:
            received = []
            device.socket.settimeout(2.0)
            device.send(message("HB", HOSTID, params="") * 2)
            try:
                while True:
                    received.append(device.socket.recv(65536))
            except TimeoutError:
                return received

        with PlainDevice(self.port) as device:
            await deferToThread(device.ask, message("LongCon", HOSTID))
            received = await self.exchange(device, talk, 2)
        methods = [json.loads(document)["method"] for document in received if document.count(b"method") == 1]
        self.assertEqual(methods[-2:], ["reset", "writeConfig"])

    async def test_nothing_goes_to_a_peer_that_does_not_read(self) -> None:
        """What is not acknowledged is waited for, in the kernel too: when it reads again, ours comes alone."""
        made: list[Echo] = []

        class Echoes(Factory):
            def buildProtocol(self, addr: object) -> Echo:
                made.append(Echo(reactor, Limits(gap=0.05)))
                return made[-1]

        port = await TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1").listen(Echoes())
        self.addCleanup(port.stopListening)
        with socket.socket() as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.connect(("127.0.0.1", port.getHost().port))
            while not made:
                await deferLater(reactor, 0.01)
            (echo,) = made
            echo.send(b"x" * 20_000)  # more than the client takes, less than the kernel does
            left: Deferred[None] = Deferred()

            def leaves() -> bool:
                left.callback(None)
                return True

            echo.send_unsolicited(OURS, leaves)
            await deferLater(reactor, 0.5)
            self.assertFalse(left.called)
            self.assertIs(echo._flow.outbound, Outbound.PACED)
            self.assertGreater(unsent(echo.transport.getHandle()), 0)

            def read() -> list[bytes]:
                client.settimeout(20)
                received = [b""]
                while not received[-1].endswith(OURS):
                    received.append(client.recv(65536))
                return received

            received = await deferToThread(read)
            await left
            self.assertEqual(received[-1], OURS)
            echo.close()
        while not echo.ending or echo.transport.connected:
            await deferLater(reactor, 0.01)
