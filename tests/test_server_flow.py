"""The rules of a connection, whatever comes in whatever pieces, and whichever way its answers leave."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from cmmd.server.flow import INBOUND, MOST_UNSENT, OUTBOUND, Flow, Inbound, Limits, Outbound, Received, Sent
from cmmd.server.receiver import DOCUMENTS_A_TURN
from cmmd.wire.errors import FrameError
from tests.test_server_receiver import Echo
from tests.transports import DirectTransport, SegmentTransport

GAP_S = 0.2
STEP_S = 0.01
LIMITS = Limits(gap=GAP_S, max_frame=1024, idle_timeout=1e6)


class TableTests(SynchronousTestCase):
    def test_every_state_has_its_row(self) -> None:
        self.assertEqual((set(INBOUND), set(OUTBOUND)), (set(Inbound), set(Outbound)))

    def test_every_event_means_something(self) -> None:
        self.assertEqual({event for row in INBOUND.values() for event in row}, set(Received))
        self.assertEqual({event for row in OUTBOUND.values() for event in row}, set(Sent))

    def test_every_state_can_be_reached_and_left_for_the_end(self) -> None:
        reached = {Inbound.BETWEEN}
        while more := {state for one in reached for state in INBOUND[one].values()} - reached:
            reached |= more
        self.assertEqual(reached, set(Inbound))
        self.assertEqual({row[Received.END] for row in INBOUND.values()}, {Inbound.ENDED})

    def test_what_is_missing_cannot_happen(self) -> None:
        flow = Flow(LIMITS)
        self.assertRaises(KeyError, flow.received, Received.ANSWER_LEFT)
        self.assertRaises(KeyError, flow.sent, Sent.PACING_OVER)


class FlowTests(SynchronousTestCase):
    """The core alone: no transport, no clock."""

    def test_one_document_after_the_other(self) -> None:
        flow = Flow(LIMITS)
        flow.feed(b'{"a":1}{"b":2}')
        self.assertTrue(flow.may_handle(0.0))
        self.assertEqual(flow.next_document(), b'{"a":1}')
        self.assertFalse(flow.may_handle(0.0))
        flow.received(Received.DEFERRED)
        flow.feed(b'{"c":3}')
        self.assertFalse(flow.may_handle(0.0))
        flow.received(Received.HANDLED)
        flow.sent(Sent.STARTED)
        self.assertFalse(flow.may_handle(0.0))
        flow.sent(Sent.ALL_LEFT)
        self.assertEqual(flow.next_document(), b'{"b":2}')

    def test_no_splitter_is_kept_between_documents(self) -> None:
        flow = Flow(LIMITS)
        flow.feed(b'{"a":1}')
        flow.next_document()
        flow.received(Received.HANDLED)
        self.assertIsNone(flow.next_document())
        self.assertIs(flow.inbound, Inbound.BETWEEN)
        self.assertIsNone(flow._splitter)
        for begun in (b'{"a', b"garbage"):
            flow.feed(begun)
            if begun == b"garbage":
                self.assertRaises(FrameError, flow.next_document)
                flow.received(Received.HANDLED)
            self.assertIsNone(flow.next_document())
            self.assertIs(flow.inbound, Inbound.WITHIN)
            flow = Flow(LIMITS)

    def test_unsent_is_bounded(self) -> None:
        flow = Flow(LIMITS)
        for _ in range(MOST_UNSENT // 1024):
            self.assertTrue(flow.queue(b"x" * 1024))
        self.assertFalse(flow.queue(b"x"))

    def test_nothing_is_taken_after_the_end(self) -> None:
        flow = Flow(LIMITS)
        flow.feed(b'{"a":1}')
        flow.end()
        for event in Received:
            flow.received(event)
        self.assertFalse(flow.may_handle(0.0))
        self.assertIs(flow.inbound, Inbound.ENDED)


class Talk(RuleBasedStateMachine):
    """A peer that sends documents in any pieces, reads or does not, while the server wants to say something itself."""

    transport_kind: type[SegmentTransport] = SegmentTransport

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.echo = Echo(self.clock, LIMITS)
        self.transport = self.transport_kind(self.echo, seconds=self.clock.seconds)
        self.transport.connect()
        self.count = 0
        self.unsolicited = 0
        self.taken = 0  # segments while one and the same answer waits to leave
        self.coming = b""
        self.expected: list[bytes] = []  # answers, in their order

    def segment(self, data: bytes) -> None:
        documents = len(self.echo.documents)
        segments = len(self.transport.segments)
        paused = self.transport.producerState == "paused"
        if paused:  # the kernel holds it until we read again
            return
        self.coming = self.coming[len(data) :]
        self.taken = self.taken + 1 if self.echo._flow.has_unsent else 0
        assert self.taken <= 1, "a peer that does not read its answers is read from"
        self.transport.protocol.dataReceived(data)
        answered = len(self.transport.segments) - segments
        assert answered <= 1, "more than one answer in a turn"
        assert len(self.echo.documents) - documents <= DOCUMENTS_A_TURN, "more than its turn"

    @rule(quiet=st.lists(st.sampled_from(["answer", "answer", "quiet", "later"]), min_size=1, max_size=30))
    def documents(self, quiet: list[str]) -> None:
        for kind in quiet:
            self.count += 1
            document = {"answer": b'{"n":%d}' % self.count, "quiet": b'{"quiet":1}', "later": b'{"later":1}'}[kind]
            self.coming += document
            self.expected += {"answer": [document], "quiet": [], "later": [b"late"]}[kind]

    @precondition(lambda self: self.coming)
    @rule(data=st.data())
    def comes_in_any_piece(self, data: st.DataObject) -> None:
        self.segment(self.coming[: data.draw(st.integers(1, min(len(self.coming), 200)))])

    @precondition(lambda self: self.coming)
    @rule()
    def comes_in_one_message(self) -> None:
        self.segment(self.coming[: self.coming.index(b"}") + 1])

    def let_leave(self) -> None:
        self.transport.turn()
        if not self.echo._flow.has_unsent:
            self.taken = 0

    @rule()
    def turn(self) -> None:
        segments = len(self.transport.segments)
        self.let_leave()
        assert len(self.transport.segments) - segments <= 2, "what leaves in a turn, and one answer to what comes"

    @rule(steps=st.integers(0, 30))
    def time(self, steps: int) -> None:
        for _ in range(steps):
            self.let_leave()
            self.clock.advance(STEP_S)

    @rule(reads=st.booleans())
    def peer_reads(self, reads: bool) -> None:
        self.transport.peer_reads = reads

    @precondition(lambda self: self.unsolicited < 5)
    @rule()
    def says_something_itself(self) -> None:
        self.unsolicited += 1
        self.echo.send_unsolicited(b"<%d>" % self.unsolicited, lambda: True)

    @precondition(lambda self: any(not one.called for one in self.echo.later))
    @rule()
    def answer_is_determined(self) -> None:
        next(one for one in self.echo.later if not one.called).callback(None)

    @invariant()
    def one_message_a_segment_and_in_order(self) -> None:
        answers = [one for one in self.transport.segments if not one.startswith(b"<")]
        ours = [one for one in self.transport.segments if one.startswith(b"<")]
        assert answers == self.expected[: len(answers)]
        assert ours == [b"<%d>" % number for number in range(1, len(ours) + 1)]

    @invariant()
    def one_is_unanswered_at_most(self) -> None:
        handled = [one for one in self.echo.documents if one != b'{"quiet":1}']
        answers = [one for one in self.transport.segments if not one.startswith(b"<")]
        assert len(handled) - len(answers) <= 2  # the one held back by a pause, and the next one that is determined

    @invariant()
    def ours_keep_their_pauses(self) -> None:
        left = self.transport.left_at
        for place, segment in enumerate(self.transport.segments):
            if segment.startswith(b"<"):
                assert place == 0 or left[place] - left[place - 1] > GAP_S - STEP_S
                assert place + 1 == len(left) or left[place + 1] - left[place] > GAP_S - STEP_S

    def teardown(self) -> None:
        """All of it is answered in the end, and nothing is left."""
        self.transport.peer_reads = True
        for _ in range(10_000):
            if self.coming and self.transport.producerState != "paused":
                self.segment(self.coming[:200])
            for one in self.echo.later:
                if not one.called:
                    one.callback(None)
            self.let_leave()
            self.clock.advance(STEP_S)
            if len(self.transport.segments) == len(self.expected) + self.unsolicited and not self.coming:
                break
        self.one_message_a_segment_and_in_order()
        assert len(self.transport.segments) == len(self.expected) + self.unsolicited
        for _ in range(100):
            self.transport.turn()
            self.clock.advance(STEP_S)
        flow = self.echo._flow
        assert (flow.inbound, flow.outbound in (Outbound.CLEAR, Outbound.UNUSED)) == (Inbound.BETWEEN, True)
        assert (flow._splitter, flow.pacing, flow.has_unsent) == (None, None, False)
        assert self.clock.getDelayedCalls() == [self.echo._idle]


class TalkAtOnce(Talk):
    transport_kind = DirectTransport


class InvariantTests(SynchronousTestCase):
    def run_machine(self, kind: type[Talk]) -> None:
        run_state_machine_as_test(kind, settings=settings(max_examples=60, stateful_step_count=40, deadline=None))

    def test_by_the_transport(self) -> None:
        self.run_machine(Talk)

    def test_at_once(self) -> None:
        self.run_machine(TalkAtOnce)
