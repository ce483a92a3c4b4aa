"""The receiver: limits, order, back-pressure, timeouts, closing."""

import socket
import sys

from twisted.internet import reactor
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP4ServerEndpoint, connectProtocol
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock
from twisted.internet.tcp import Connection
from twisted.protocols.policies import WrappingFactory
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase, TestCase

from cmmd.fleet.counters.counters import Counters
from cmmd.server import flow, receiver, sockets
from cmmd.server.connection import LINGER_S
from cmmd.server.receiver import NOT_WHOLE, JSONReceiver, Limits
from cmmd.wire.errors import FrameError, MessageError, PeerError, Reason
from tests.transports import DirectTransport, SegmentTransport

LIMITS = Limits(idle_timeout=180.0, login_timeout=30.0, max_frame=1024)


class Echo(JSONReceiver):
    """Answers every document with itself, unless the document says otherwise."""

    def __init__(self, clock: object = None, limits: Limits = LIMITS) -> None:
        super().__init__(limits, clock or Clock(), Counters())  # type: ignore[arg-type]
        self.documents: list[bytes] = []
        self.faults: list[PeerError] = []
        self.bugs: list[Failure] = []
        self.drops: list[Reason] = []
        self.later: list[Deferred[None]] = []

    def segmentReceived(self, segment: bytes) -> Deferred[None] | object | None:
        """As a session: what surely is one document."""
        if segment.startswith(b"{") and segment.endswith(b"}") and segment.count(b"{") == 1 and b"[" not in segment:
            return self.documentReceived(segment)
        return NOT_WHOLE

    def documentReceived(self, document: bytes) -> Deferred[None] | None:
        self.documents.append(document)
        match document:
            case b'{"later":1}':
                self.later.append(Deferred())
                return self.later[-1].addCallback(lambda _: self.send(b"late"))
            case b'{"at once":1}':
                return succeed(None)
            case b'{"fails later":1}':
                return fail(MessageError("wrong"))
            case b'{"bug":1}':
                raise ZeroDivisionError
            case b'{"syntax":1}':
                raise FrameError(Reason.SYNTAX, "not JSON")
            case b'{"quiet":1}':
                return None
        self.send(document)
        return None

    def peer_error(self, error: PeerError) -> None:
        self.faults.append(error)
        self.send(str(error).encode())

    def internal_error(self, failure: Failure) -> None:
        self.bugs.append(failure)

    def dropped(self, reason: Reason) -> None:
        self.drops.append(reason)

    def close(self) -> None:
        self.end()


def connected(**options: object) -> tuple[Echo, SegmentTransport, Clock]:
    clock = Clock()
    protocol = Echo(clock, **options)  # type: ignore[arg-type]
    transport = SegmentTransport(protocol)
    transport.clock = clock  # type: ignore[attr-defined]
    transport.connect()
    return protocol, transport, clock


class ReceivingTests(SynchronousTestCase):
    def test_socket_is_tuned(self) -> None:
        _, transport, _ = connected()
        self.assertTrue(transport.no_delay)
        self.assertTrue(transport.keep_alive)

    def test_one_answer_a_segment(self) -> None:
        protocol, transport, _ = connected()
        transport.deliver(b'{"a":1}{"b":2}{"c":3}')
        transport.turns()
        self.assertEqual(transport.segments, [b'{"a":1}', b'{"b":2}', b'{"c":3}'])
        self.assertEqual(protocol.faults, [])

    def test_next_document_waits_until_the_answer_has_left(self) -> None:
        protocol, transport, _ = connected()
        transport.peer_reads = False
        transport.deliver(b'{"a":1}{"b":2}')
        self.assertEqual(protocol.documents, [b'{"a":1}'])
        transport.peer_reads = True
        transport.turns()
        self.assertEqual(protocol.documents, [b'{"a":1}', b'{"b":2}'])

    def test_peer_that_does_not_read_is_not_read_from(self) -> None:
        protocol, transport, _ = connected()
        transport.peer_reads = False
        transport.deliver(b'{"a":1}')
        self.assertEqual(transport.producerState, "producing")
        transport.deliver(b'{"b":2}')
        self.assertEqual(transport.producerState, "paused")
        transport.peer_reads = True
        transport.turns()
        self.assertEqual(transport.producerState, "producing")
        self.assertEqual(protocol.documents, [b'{"a":1}', b'{"b":2}'])

    def test_documents_without_answer_give_others_a_turn(self) -> None:
        protocol, transport, clock = connected()
        transport.deliver(b'{"quiet":1}' * (2 * receiver.DOCUMENTS_A_TURN + 1))
        self.assertEqual(len(protocol.documents), receiver.DOCUMENTS_A_TURN)
        self.assertEqual(transport.producerState, "paused")
        clock.advance(0)
        clock.advance(0)
        self.assertEqual(len(protocol.documents), 2 * receiver.DOCUMENTS_A_TURN + 1)
        self.assertEqual(transport.producerState, "producing")

    def test_bytes_between_turns_wait(self) -> None:
        protocol, transport, clock = connected()
        transport.deliver(b'{"quiet":1}' * (receiver.DOCUMENTS_A_TURN + 1))
        transport.deliver(b'{"a":1}')
        self.assertEqual(len(protocol.documents), receiver.DOCUMENTS_A_TURN)
        clock.advance(0)
        transport.turns()
        self.assertEqual(transport.segments, [b'{"a":1}'])

    def test_slow_handling_holds_the_next_document(self) -> None:
        protocol, transport, clock = connected()
        transport.deliver(b'{"later":1}{"a":1}')
        self.assertEqual(protocol.documents, [b'{"later":1}'])
        protocol.later[0].callback(None)
        clock.advance(0)
        transport.turns()
        self.assertEqual(transport.segments, [b"late", b'{"a":1}'])

    def test_handling_that_is_done_at_once(self) -> None:
        _, transport, clock = connected()
        transport.deliver(b'{"at once":1}{"a":1}')
        clock.advance(0)
        transport.turns()
        self.assertEqual(transport.segments, [b'{"a":1}'])

    def test_handling_that_outlives_the_connection(self) -> None:
        protocol, transport, clock = connected()
        transport.deliver(b'{"later":1}')
        transport.hang_up()
        protocol.later[0].callback(None)
        self.assertEqual(clock.getDelayedCalls(), [])
        self.assertEqual(transport.segments, [])

    def test_connection_lost_between_turns_leaves_nothing(self) -> None:
        _, transport, clock = connected()
        transport.deliver(b'{"quiet":1}' * (receiver.DOCUMENTS_A_TURN + 1))
        transport.hang_up()
        self.assertEqual(clock.getDelayedCalls(), [])


class FaultTests(SynchronousTestCase):
    def test_three_frame_errors_close(self) -> None:
        protocol, transport, _ = connected()
        transport.deliver(b'x{"a":1}y{"syntax":1}')
        transport.turns()
        self.assertEqual([error.reason for error in protocol.faults], [Reason.GARBAGE, Reason.GARBAGE, Reason.SYNTAX])
        self.assertEqual(transport.segments, [b"not a JSON object", b'{"a":1}', b"not a JSON object", b"not JSON"])
        self.assertTrue(transport.write_closed)

    def test_as_many_as_are_allowed(self) -> None:
        protocol, transport, _ = connected(limits=Limits(max_frame_errors=1, max_depth=4))
        transport.deliver(b'{"a":[[[]]]}')
        self.assertEqual(protocol.faults, [])
        transport.turns()
        transport.deliver(b'{"a":[[[[]]]]}')
        transport.turns()
        self.assertEqual([error.reason for error in protocol.faults], [Reason.DEPTH])
        self.assertTrue(transport.write_closed)

    def test_other_faults_do_not_close(self) -> None:
        protocol, transport, clock = connected()
        for _ in range(5):
            transport.deliver(b'{"fails later":1}')
            clock.advance(0)
            transport.turns()
        self.assertEqual(len(protocol.faults), 5)
        self.assertFalse(transport.write_closed)

    def test_a_bug_closes(self) -> None:
        protocol, transport, _ = connected()
        transport.deliver(b'{"bug":1}{"a":1}')
        self.assertEqual([failure.type for failure in protocol.bugs], [ZeroDivisionError])
        self.assertTrue(transport.write_closed)
        self.assertEqual(protocol.documents, [b'{"bug":1}'])

    def test_frame_too_long(self) -> None:
        protocol, transport, _ = connected()
        transport.deliver(b'{"a":"' + b"x" * 1100 + b'"}{"b":1}')
        transport.turns()
        self.assertEqual([error.reason for error in protocol.faults], [Reason.OVERSIZE])
        self.assertEqual(transport.segments[-1], b'{"b":1}')


class TimeoutTests(SynchronousTestCase):
    def test_silence_closes(self) -> None:
        protocol, transport, clock = connected()
        clock.advance(179)
        self.assertFalse(transport.write_closed)
        clock.advance(2)
        self.assertEqual(protocol.drops, [Reason.IDLE_TIMEOUT])
        self.assertTrue(transport.write_closed)

    def test_any_byte_counts(self) -> None:
        protocol, transport, clock = connected()
        for _ in range(5):
            clock.advance(100)
            transport.deliver(b" ")
        self.assertEqual(protocol.drops, [])

    def test_our_own_slowness_does_not_count(self) -> None:
        protocol, transport, clock = connected()
        transport.deliver(b'{"later":1}')
        clock.advance(181)
        clock.advance(181)
        self.assertEqual(protocol.drops, [])
        protocol.later[0].callback(None)
        transport.turns()
        clock.advance(0)
        clock.advance(181)
        self.assertEqual(protocol.drops, [Reason.IDLE_TIMEOUT])

    def test_peer_that_never_reads_is_dropped(self) -> None:
        protocol, transport, clock = connected()
        transport.peer_reads = False
        transport.deliver(b'{"a":1}')
        clock.advance(181)
        self.assertEqual(protocol.drops, [Reason.UNREAD_OUTPUT])
        self.assertTrue(transport.aborted)
        self.assertEqual(clock.getDelayedCalls(), [])

    def test_unread_output_is_bounded(self) -> None:
        protocol, transport, _ = connected()
        transport.peer_reads = False
        message = b"x" * 1024
        for _ in range(flow.MOST_UNSENT // 1024):
            protocol.send(message)
        self.assertFalse(transport.aborted)
        protocol.send(message)
        self.assertEqual(protocol.drops, [Reason.UNREAD_OUTPUT])
        self.assertTrue(transport.aborted)

    def test_what_has_left_does_not_count_as_unread(self) -> None:
        protocol, transport, _ = connected()
        for _ in range(3):
            for _ in range(flow.MOST_UNSENT // 1024):
                protocol.send(b"x" * 1024)
            transport.turns()
        self.assertEqual(protocol.drops, [])


class ClosingTests(SynchronousTestCase):
    def test_everything_unsent_leaves_first(self) -> None:
        protocol, transport, clock = connected()
        protocol.send(b"one")
        protocol.send(b"two")
        protocol.close()
        protocol.close()
        self.assertFalse(transport.write_closed)
        transport.turns()
        self.assertEqual(transport.segments, [b"one", b"two"])
        self.assertTrue(transport.write_closed)
        self.assertFalse(transport.lost)
        transport.hang_up()
        self.assertEqual(clock.getDelayedCalls(), [])

    def test_what_comes_after_is_dropped(self) -> None:
        protocol, transport, _ = connected()
        protocol.send(b"last")
        transport.turns()
        protocol.close()
        transport.deliver(b'{"a":1}')
        protocol.send(b"too late")
        transport.turns()
        self.assertEqual(protocol.documents, [])
        self.assertEqual(transport.segments, [b"last"])

    def test_peer_that_does_not_close_is_aborted(self) -> None:
        protocol, transport, clock = connected()
        protocol.send(b"last")
        transport.turns()
        protocol.close()
        clock.advance(LINGER_S)
        self.assertTrue(transport.aborted)

    def test_closing_that_waits_for_the_peer_is_bounded(self) -> None:
        """As with TLS, where a close has to be answered."""
        protocol, transport, clock = connected()
        self.patch(transport, "loseConnection", lambda: None)
        protocol.close()
        self.assertFalse(transport.lost)
        clock.advance(LINGER_S)
        self.assertTrue(transport.aborted)

    def test_peer_that_was_never_answered_is_closed_at_once(self) -> None:
        protocol, transport, clock = connected()
        protocol.close()
        self.assertTrue(transport.lost)
        self.assertEqual(clock.getDelayedCalls(), [])

    def test_closing_reads_a_paused_peer_to_its_end(self) -> None:
        protocol, transport, _ = connected()
        transport.peer_reads = False
        transport.deliver(b'{"a":1}')
        transport.deliver(b'{"b":1}')
        protocol.close()
        self.assertEqual(transport.producerState, "producing")


class HalfCloseTests(SynchronousTestCase):
    """A peer that closes its side first, as ``nc -N`` and any device that hangs up do."""

    def test_idle_peer(self) -> None:
        _, transport, clock = connected()
        transport.half_close()
        self.assertTrue(transport.lost)
        self.assertEqual(clock.getDelayedCalls(), [])

    def test_answers_still_leave(self) -> None:
        _, transport, _ = connected()
        transport.protocol.dataReceived(b'{"a":1}{"b":2}')
        transport.half_close()
        transport.turns()
        self.assertEqual(transport.segments, [b'{"a":1}', b'{"b":2}'])
        self.assertTrue(transport.lost)

    def test_slow_answers_too(self) -> None:
        protocol, transport, clock = connected()
        transport.deliver(b'{"later":1}{"a":1}')
        transport.half_close()
        self.assertFalse(transport.lost)
        protocol.later[0].callback(None)
        clock.advance(0)
        transport.turns()
        self.assertEqual(transport.segments, [b"late", b'{"a":1}'])
        self.assertTrue(transport.lost)

    def test_between_turns(self) -> None:
        protocol, transport, clock = connected()
        transport.deliver(b'{"quiet":1}' * (receiver.DOCUMENTS_A_TURN + 1))
        transport.half_close()
        clock.advance(0)
        self.assertEqual(len(protocol.documents), receiver.DOCUMENTS_A_TURN + 1)
        self.assertTrue(transport.lost)

    def test_after_we_have_closed_ours(self) -> None:
        protocol, transport, _ = connected()
        protocol.send(b"last")
        transport.turns()
        protocol.close()
        self.assertFalse(transport.lost)
        transport.half_close()
        self.assertTrue(transport.lost)

    def test_after_we_have_closed_while_an_answer_was_due(self) -> None:
        protocol, transport, clock = connected()
        protocol.send(b"first")
        transport.turns()
        transport.deliver(b'{"later":1}')
        protocol.close()
        self.assertFalse(transport.lost)
        transport.half_close()
        self.assertTrue(transport.lost)
        protocol.later[0].callback(None)
        self.assertEqual(clock.getDelayedCalls(), [])

    def test_while_our_last_answer_leaves(self) -> None:
        protocol, transport, _ = connected()
        protocol.send(b"last")
        protocol.close()
        transport.half_close()
        transport.turns()
        self.assertEqual(transport.segments, [b"last"])
        self.assertTrue(transport.lost)


class AtOnce:
    """The same where answers may be sent at once: on a plain socket."""

    def setUp(self) -> None:
        super().setUp()  # type: ignore[misc]
        self.patch(sys.modules[__name__], "SegmentTransport", DirectTransport)  # type: ignore[attr-defined]


class ReceivingAtOnceTests(AtOnce, ReceivingTests):
    def test_a_message_of_its_own_is_answered_in_its_turn(self) -> None:
        protocol, transport, _ = connected()
        transport.deliver(b'{"a":1}')
        transport.protocol.dataReceived(b'{"b":2}')
        self.assertEqual(transport.segments, [b'{"a":1}', b'{"b":2}'])
        self.assertEqual(transport.sent_at_once, 2)  # type: ignore[attr-defined]
        self.assertEqual(protocol.documents, transport.segments)

    def test_one_answer_a_turn(self) -> None:
        _, transport, clock = connected()
        transport.deliver(b'{"a":1}')
        transport.protocol.dataReceived(b'{"b":2}{"c":3}')
        self.assertEqual(transport.segments[1:], [b'{"b":2}'])
        self.assertEqual(transport.producerState, "paused")
        clock.advance(0)
        self.assertEqual(transport.segments[1:], [b'{"b":2}', b'{"c":3}'])
        self.assertEqual(transport.producerState, "producing")

    def test_two_messages_for_one_document(self) -> None:
        """The second one waits as if it were another's."""
        protocol, transport, _ = connected()
        transport.deliver(b'{"a":1}')

        def twice(_: bytes) -> None:
            protocol.send(b"1")
            protocol.send(b"2")

        self.patch(protocol, "segmentReceived", twice)
        transport.protocol.dataReceived(b'{"b":2}')
        self.assertEqual(transport.segments[1:], [b"1"])
        transport.turns()
        self.assertEqual(transport.segments[1:], [b"1", b"2"])

    def test_what_the_kernel_does_not_take_goes_by_the_transport(self) -> None:
        protocol, transport, _ = connected()
        transport.deliver(b'{"a":1}')
        transport.room = 3  # type: ignore[attr-defined]
        transport.protocol.dataReceived(b'{"b":2}')
        transport.deliver(b'{"c":3}')
        self.assertEqual(transport.producerState, "paused")
        transport.room = 65536  # type: ignore[attr-defined]
        transport.turns()
        self.assertEqual(transport.segments, [b'{"a":1}', b'{"b":2}', b'{"c":3}'])
        self.assertEqual(protocol.documents, transport.segments)
        self.assertEqual(transport.producerState, "producing")


class FaultAtOnceTests(AtOnce, FaultTests):
    pass


class TimeoutAtOnceTests(AtOnce, TimeoutTests):
    pass


class ClosingAtOnceTests(AtOnce, ClosingTests):
    pass


class HalfCloseAtOnceTests(AtOnce, HalfCloseTests):
    pass


class Collector(Protocol):
    """Collects what a server sends, receive by receive."""

    transport: Connection

    def __init__(self) -> None:
        self.received: list[bytes] = []
        self.closed: Deferred[None] = Deferred()
        self.heard: Deferred[None] = Deferred()

    def dataReceived(self, data: bytes) -> None:
        self.received.append(data)
        if len(self.received) == 1:
            self.heard.callback(None)

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]
        self.closed.callback(None)


class SocketTests(TestCase):
    """The same on a real socket."""

    async def connected(self) -> tuple[list[Echo], Collector]:
        """Both ends of a connection; the server's end is there once the client has heard from it."""
        made: list[Echo] = []

        class Echoes(Factory):
            def buildProtocol(self, addr: object) -> Echo:
                made.append(Echo(reactor))
                return made[-1]

        port = await TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1").listen(Echoes())
        self.addCleanup(port.stopListening)
        endpoint = TCP4ClientEndpoint(reactor, "127.0.0.1", port.getHost().port)
        return made, await connectProtocol(endpoint, Collector())

    async def test_answers_of_a_burst_then_close(self) -> None:
        made, client = await self.connected()
        client.transport.write(b'{"a":1}{"b":2}zzz{"bug":1}')
        await client.closed
        self.assertEqual(b"".join(client.received), b'{"a":1}{"b":2}not a JSON object')
        self.assertEqual(len(made[0].bugs), 1)

    async def test_answers_leave_at_once(self) -> None:
        made, client = await self.connected()
        client.transport.write(b'{"a":1}')
        await client.heard
        self.assertIs(made[0]._socket, made[0].transport.getHandle())
        client.transport.loseConnection()
        await client.closed

    async def test_nothing_goes_past_a_wrapper(self) -> None:
        """As TLS is, or what an endpoint brings along: what it does with our bytes is for it to say."""
        made: list[Echo] = []

        class Echoes(Factory):
            noisy = False

            def buildProtocol(self, addr: object) -> Echo:
                made.append(Echo(reactor))
                return made[-1]

        wrapped = WrappingFactory(Echoes())
        port = await TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1").listen(wrapped)
        self.addCleanup(port.stopListening)
        endpoint = TCP4ClientEndpoint(reactor, "127.0.0.1", port.getHost().port)
        client = await connectProtocol(endpoint, Collector())
        client.transport.write(b'{"a":1}')
        await client.heard
        self.assertIsNone(made[0]._socket)
        self.assertEqual(client.received, [b'{"a":1}'])
        client.transport.loseConnection()
        await client.closed

    async def test_socket_options(self) -> None:
        made, client = await self.connected()
        client.transport.write(b'{"a":1}')
        await client.heard
        handle = made[0].transport.getHandle()
        self.assertEqual(handle.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY), 1)
        self.assertEqual(handle.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE), 1)
        self.assertEqual(handle.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE), sockets.KEEPALIVE_IDLE_S)
        self.assertLessEqual(handle.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF), 2 * sockets.SEND_BUFFER)
        made[0].close()
        await client.closed
