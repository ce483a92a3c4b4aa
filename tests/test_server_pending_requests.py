"""Round trips: whatever happens, each ends once, with what is known of it."""

import gc
import json
import weakref
from collections import Counter
from collections.abc import Callable
from typing import Any, cast

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test
from msgspec import UNSET
from twisted.internet.defer import CancelledError
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from cmmd.fleet.counters.error_counter import count_bugs
from cmmd.fleet.devices.presence import MOST_STANDING, Lost, NoAnswer, NotSent
from cmmd.server.connection import LINGER_S
from cmmd.server.pending_requests import MOST_REMEMBERED
from cmmd.server.receiver import Limits
from cmmd.server.session import Session
from cmmd.wire.errors import Reason
from cmmd.wire.messages import Reset, ResetAnswer, WriteConfig, WriteConfigAnswer, encode
from tests.plain_device import message
from tests.transports import SegmentTransport
from tests.world import HOSTID, World

OTHER = "3130373031334717003D002E"
AUTO, STOP = "00050003FF007DEB", "00050001FF00DC2B"
GAP_S, STEP_S, TIMEOUT_S = 0.2, 0.05, 5.0
LATE, DUPLICATE, FOREIGN = (
    "answer to a {} came too late",
    "another answer to a {}",
    "answer to a {} that was not sent on this connection",
)


def write(uid: str = "100001", frames: str = AUTO) -> WriteConfig:
    return WriteConfig(result=frames, datatype=1, uid=uid)


def answer(uid: str | None = "100001", params: str | None = f"{AUTO},1", hostid: str = HOSTID, **more: int) -> bytes:
    said = {"params": params, "uid": uid, **more}
    return message("writeConfig", hostid, **{key: value for key, value in said.items() if value is not None})


def port_answer(uid: str | None, **echoed: int) -> bytes:
    return answer(uid, None, HOSTID, **echoed)


RESET_ANSWER = message("reset", HOSTID)


class Trip:
    """One round trip that was asked for, and all that was heard of it."""

    def __init__(self, world: World, session: Session, asked: WriteConfig | Reset, timeout_s: float) -> None:
        self.asked = asked
        self.begun = world.clock.seconds()
        self.sent_at: list[float] = []
        self.heard: list[Any] = []

        def leaves() -> bool:
            self.sent_at.append(world.clock.seconds())
            return True

        self.deferred = session.round_trip(asked, timeout_s, leaves)
        self.deferred.addBoth(self.heard.append)

    @property
    def outcome(self) -> Any:
        """The answer, the kind of failure, or None."""
        assert len(self.heard) <= 1
        if not self.heard:
            return None
        return self.heard[0].type if isinstance(self.heard[0], Failure) else self.heard[0]

    @property
    def said(self) -> object:
        """What the device answered."""
        assert isinstance(self.outcome, WriteConfigAnswer), self.outcome
        return self.outcome.params


class RoundTripTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.world = World(limits=Limits(gap=GAP_S))
        self.world.register()
        self.transport = self.attached()
        self.strays: list[tuple[str, object]] = []
        self.patch(self.world.around.peer_log, "fault", lambda peer, what, said="": self.strays.append((what, said)))

    def attached(self) -> SegmentTransport:
        transport = self.world.connect()
        transport.deliver(message("LongCon", HOSTID))
        transport.turns()
        return transport

    @property
    def session(self) -> Session:
        return cast("Session", self.transport.protocol)

    def begin(self, asked: WriteConfig | Reset | None = None, timeout_s: float = TIMEOUT_S) -> Trip:
        return Trip(self.world, self.session, asked or write(), timeout_s)

    def begun(self, asked: WriteConfig | Reset | None = None, timeout_s: float = TIMEOUT_S) -> Trip:
        """One that is in flight."""
        trip = self.begin(asked, timeout_s)
        self.pass_time(2 * GAP_S)
        self.assertEqual(len(trip.sent_at), 1)
        return trip

    def pass_time(self, seconds: float) -> None:
        for _ in range(round(seconds / STEP_S)):
            self.world.clock.advance(STEP_S)
            self.transport.turns()

    def deliver(self, *documents: bytes) -> None:
        for document in documents:
            self.transport.deliver(document)
            self.pass_time(2 * GAP_S)

    def unexpected(self) -> int:
        return self.world.counters.peer_errors[Reason.UNEXPECTED_ANSWER]

    def check_strays(self, *expected: str) -> None:
        self.assertEqual([what for what, _ in self.strays], list(expected))
        self.assertEqual(self.unexpected(), len(expected))

    def hang_up(self) -> None:
        """The connection ends, and leaves nothing."""
        self.transport.hang_up()
        self.world.write_batch()
        self.world.write_batch()
        self.assertEqual(self.world.clock.getDelayedCalls(), [])


class OutcomeTests(RoundTripTestCase):
    def test_answer(self) -> None:
        trip = self.begin()
        self.assertEqual((trip.sent_at, self.transport.segments[1:]), ([], []))
        self.pass_time(GAP_S + STEP_S)
        self.assertEqual(self.transport.segments[1:], [encode(write())])
        self.assertEqual(trip.sent_at, self.transport.left_at[1:])
        self.assertIsNone(trip.outcome)
        self.deliver(answer(params=f"{AUTO},0"))
        self.assertEqual(trip.said, f"{AUTO},0")
        self.assertEqual(len(self.transport.segments), 2)  # an answer is not answered
        self.check_strays()
        self.hang_up()

    def test_no_answer(self) -> None:
        trip = self.begun()
        self.pass_time(TIMEOUT_S)
        self.assertIs(trip.outcome, NoAnswer)
        self.deliver(answer())
        self.check_strays(LATE.format("writeConfig"))
        self.assertEqual(self.strays[0][1], "100001")
        self.hang_up()

    def test_time_for_the_answer_counts_from_when_it_was_sent(self) -> None:
        self.transport.peer_reads = False
        self.deliver(message("HB", HOSTID))
        trip = self.begin()
        self.pass_time(TIMEOUT_S - STEP_S)
        self.transport.peer_reads = True
        self.session._limits = Limits(gap=0.0)  # let it go at once, just in time
        self.session._flow.pacing._gap = 0.0  # type: ignore[union-attr]
        self.transport.turns()
        self.assertEqual(len(trip.sent_at), 1)
        self.pass_time(TIMEOUT_S - STEP_S)
        self.assertIsNone(trip.outcome)
        self.pass_time(2 * STEP_S)
        self.assertIs(trip.outcome, NoAnswer)

    def test_no_quiet_in_time(self) -> None:
        self.transport.peer_reads = False
        self.deliver(message("HB", HOSTID))
        trip = self.begin()
        self.pass_time(TIMEOUT_S + STEP_S)
        self.assertIs(trip.outcome, NotSent)
        self.transport.peer_reads = True
        self.pass_time(2)
        self.assertEqual((trip.sent_at, len(self.transport.segments)), ([], 2))
        self.hang_up()

    def test_answer_at_the_moment_of_the_timeout(self) -> None:
        for first in ("answer", "timeout"):
            self.setUp()
            trip = self.begun()
            self.world.clock.advance(trip.sent_at[0] + TIMEOUT_S - self.world.clock.seconds() - 1e-3)
            if first == "timeout":
                self.world.clock.advance(1e-3)
            self.transport.deliver(answer())
            self.world.clock.advance(1e-3)
            if first == "answer":
                self.assertEqual(trip.said, f"{AUTO},1")
                self.check_strays()
            else:
                self.assertIs(trip.outcome, NoAnswer)
                self.check_strays(LATE.format("writeConfig"))

    def test_cancelled_before_it_is_sent(self) -> None:
        trip = self.begin()
        trip.deferred.cancel()
        self.assertIs(trip.outcome, CancelledError)
        self.pass_time(2)
        self.assertEqual((trip.sent_at, len(self.transport.segments)), ([], 1))
        self.deliver(answer())
        self.check_strays(FOREIGN.format("writeConfig"))
        self.hang_up()

    def test_cancelled_when_it_has_been_sent(self) -> None:
        """Nobody listens any more; its answer is still known for what it is."""
        trip = self.begun()
        trip.deferred.cancel()
        self.assertIs(trip.outcome, CancelledError)
        self.deliver(answer())
        self.check_strays()
        self.deliver(answer())
        self.check_strays(DUPLICATE.format("writeConfig"))

    def test_cancelled_and_never_answered(self) -> None:
        for end in (lambda: self.pass_time(TIMEOUT_S + STEP_S), self.hang_up):
            self.setUp()
            trip = self.begun()
            trip.deferred.cancel()
            end()
            self.assertIs(trip.outcome, CancelledError)
        self.assertEqual(self.world.clock.getDelayedCalls(), [])

    def test_what_cannot_be_noted_is_not_sent(self) -> None:
        self.addCleanup(count_bugs(self.world.counters))
        trip = self.session.round_trip(write(), TIMEOUT_S, lambda: 1 / 0)  # type: ignore[arg-type,return-value]
        self.pass_time(2 * GAP_S)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertEqual(self.world.counters.bugs, 1)
        self.failureResultOf(trip, NotSent)
        self.assertEqual([one for one in self.transport.segments if b"uid" in one], [])

    def test_what_must_not_go_any_more(self) -> None:
        """Asked directly before it leaves; what waits behind goes in the same pause."""
        trip = self.session.round_trip(write(), TIMEOUT_S, lambda: False)
        behind = self.session.round_trip(write(uid="100002"), TIMEOUT_S, lambda: True)
        self.pass_time(2 * GAP_S)
        self.failureResultOf(trip, NotSent)
        self.assertEqual(len([one for one in self.transport.segments if b"uid" in one]), 1)
        self.assertNoResult(behind)
        self.deliver(answer(uid="100002"))
        self.successResultOf(behind)
        self.assertFalse(self.transport.write_closed)

    def test_asked_for_while_an_upload_is_handled(self) -> None:
        trips: list[Trip] = []
        self.world.fleet.events.subscribe(lambda event: trips.append(self.begin(Reset())))
        self.transport.deliver(message("timing", HOSTID))
        self.assertEqual(len(trips), 1)
        self.pass_time(2 * GAP_S)
        self.assertEqual([json.loads(one)["method"] for one in self.transport.segments], ["LongCon", "timing", "reset"])


class EndTests(RoundTripTestCase):
    """The end of a connection, for one that is in flight and one that waits."""

    def check(self, end: Callable[[], object], *, cleanly: bool = True) -> None:
        flying = self.begun()
        waiting = self.begin(write("100002"))
        waiting_reset = self.begin(Reset())
        end()
        self.assertIs(flying.outcome, Lost)
        self.assertIs(waiting.outcome, NotSent)
        self.assertIs(waiting_reset.outcome, NotSent)
        self.assertIs(self.begin(write("100003")).outcome, NotSent)
        sent = [segment for segment in self.transport.segments if b'"uid"' in segment]
        self.assertEqual(sent, [encode(write())])
        self.assertEqual(waiting.sent_at + waiting_reset.sent_at, [])
        self.world.write_batch()
        self.pass_time(LINGER_S + STEP_S)
        self.transport.hang_up()
        self.assertEqual(self.world.clock.getDelayedCalls(), [])

    def test_peer_or_line(self) -> None:
        self.check(self.transport.hang_up)

    def test_peer_sends_no_more(self) -> None:
        def half_close() -> None:
            self.transport.half_close()
            self.pass_time(2 * GAP_S)

        self.check(half_close)

    def test_we_close(self) -> None:
        self.check(self.session.close)

    def test_we_close_with_an_answer_unread(self) -> None:
        def close() -> None:
            self.transport.peer_reads = False
            self.transport.deliver(message("HB", HOSTID))
            self.session.close()
            self.transport.peer_reads = True
            self.transport.turns()

        self.check(close)

    def test_reset_of_the_connection(self) -> None:
        self.check(self.transport.abortConnection)

    def test_dropped_for_what_it_does_not_read(self) -> None:
        def drop() -> None:
            self.session.drop(Reason.UNREAD_OUTPUT)

        self.check(drop)

    def test_between_being_dropped_and_being_gone(self) -> None:
        """A real transport takes one turn for it."""
        flying = self.begun()
        self.patch(self.transport, "abortConnection", lambda: None)
        self.session.drop(Reason.UNREAD_OUTPUT)
        self.assertIs(self.begin(write("100002")).outcome, NotSent)
        self.transport.hang_up()
        self.assertIs(flying.outcome, Lost)

    def test_oldest_of_too_many(self) -> None:
        def others() -> None:
            others = [self.attached() for _ in range(MOST_STANDING)]
            self.assertTrue(self.transport.write_closed)
            for other in others:
                other.hang_up()

        self.check(others)

    def test_silence(self) -> None:
        self.world = World(limits=Limits(idle_timeout=3.0, gap=GAP_S))
        self.world.register()
        self.transport = self.attached()
        trip = self.begun()
        self.pass_time(3.0)
        self.assertIs(trip.outcome, Lost)
        self.assertEqual(self.world.counters.peer_errors, {Reason.IDLE_TIMEOUT: 1})

    def test_answer_just_before_the_end(self) -> None:
        for end in (self.transport.hang_up, self.transport.half_close):
            self.setUp()
            trip = self.begun()
            self.transport.deliver(answer())
            end()
            self.assertEqual(trip.said, f"{AUTO},1")

    def test_answer_at_once_then_the_end(self) -> None:
        """As modules do that are reset. In the pause after ours only answers of ours have to wait."""
        for end in (self.transport.hang_up, self.transport.half_close):
            self.setUp()
            trip = self.begin(Reset())
            while not trip.sent_at:
                self.pass_time(STEP_S)
            self.transport.deliver(RESET_ANSWER)
            end()
            self.assertIsInstance(trip.outcome, ResetAnswer)

    def test_answer_behind_one_that_waits_for_the_pause_to_end(self) -> None:
        trip = self.begin()
        while not trip.sent_at:
            self.pass_time(STEP_S)
        self.transport.deliver(message("HB", HOSTID) + answer())
        self.transport.half_close()
        self.assertIsNone(trip.outcome)
        self.pass_time(2 * GAP_S)
        self.assertEqual(trip.said, f"{AUTO},1")
        self.assertTrue(self.transport.lost)
        self.assertIn(b'"HB"', self.transport.segments[-1])

    def test_answer_after_the_end(self) -> None:
        trip = self.begun()
        self.session.close()
        self.transport.deliver(answer())
        self.assertIs(trip.outcome, Lost)

    def test_who_hears_of_the_end_finds_the_device_offline(self) -> None:
        """And gets no further by trying again on what ends, or by withdrawing the others."""
        found: list[Any] = []
        flying, waiting = self.begun(), self.begin(write("100002"))

        def heard(failure: Any) -> None:
            found.append(self.world.presence.carrier(HOSTID))
            found.append(self.begin(write("100003")).outcome)
            waiting.deferred.cancel()

        flying.deferred.addBoth(heard)
        self.session.close()
        self.assertEqual(found, [None, NotSent])
        self.assertIs(waiting.outcome, CancelledError)
        self.hang_up()

    def test_connection_that_is_nobodys(self) -> None:
        self.transport = self.world.connect()
        self.assertIs(self.begin().outcome, NotSent)
        self.transport.hang_up()
        self.assertIs(self.begin().outcome, NotSent)


class MatchingTests(RoundTripTestCase):
    def test_several_in_flight_by_uid(self) -> None:
        trips = [self.begun(write(f"10000{number}")) for number in range(3)]
        for number in (1, 2, 0):
            self.deliver(answer(f"10000{number}", f"{AUTO},{number % 2}"))
        self.assertEqual([trip.said for trip in trips], [f"{AUTO},0", f"{AUTO},1", f"{AUTO},0"])
        self.check_strays()

    def test_uid_as_a_number(self) -> None:
        trip = self.begun()
        self.deliver(message("writeConfig", HOSTID, params=f"{AUTO},1", uid=100001))
        self.assertEqual(trip.said, f"{AUTO},1")

    def test_by_what_is_echoed(self) -> None:
        both = f"{AUTO};{STOP}"
        for uid in (None, "", "action", "999999"):
            for frames, params in (
                (AUTO, f"{AUTO},1"),
                (AUTO, f" {AUTO.lower()} , 0 ;"),
                (AUTO, "00 05 00 03 FF 00 7D EB,1"),
                (both, f"{AUTO},1;{STOP},1"),
                (both, f"{AUTO},1; {STOP},0"),
            ):
                self.setUp()
                trip = self.begun(write(frames=frames))
                self.deliver(answer(uid, params))
                self.assertEqual(trip.said, params)
                self.check_strays()

    def test_other_echo(self) -> None:
        trip = self.begun(write(frames=f"{AUTO};{STOP}"))
        others = (f"{STOP},1", f"{AUTO},1", f"{STOP},1;{AUTO},1", f"{AUTO},1;{STOP},1;{STOP},1", ",1", "", "1", None)
        for number, params in enumerate(others):
            self.deliver(answer(None, params))
            self.assertEqual(self.unexpected(), number + 1)
        self.assertIsNone(trip.outcome)
        self.assertEqual({what for what, _ in self.strays}, {FOREIGN.format("writeConfig")})

    def test_echo_with_two_in_flight(self) -> None:
        trips = [self.begun(), self.begun(write("100002", STOP))]
        self.deliver(answer(None), answer(None, f"{STOP},1"))
        self.assertEqual([trip.outcome for trip in trips], [None, None])
        self.check_strays(*[FOREIGN.format("writeConfig")] * 2)

    def test_echo_beside_one_that_waits_or_a_reset(self) -> None:
        reset, trip = self.begun(Reset()), self.begun()
        waiting = self.begin(write("100002", STOP))
        self.transport.deliver(answer(None))
        self.assertEqual(trip.said, f"{AUTO},1")
        self.assertEqual((reset.outcome, waiting.outcome), (None, None))

    def test_echo_of_one_that_waits(self) -> None:
        trip = self.begin()
        self.transport.deliver(answer())
        self.transport.deliver(answer(None))
        self.assertIsNone(trip.outcome)
        self.check_strays(*[FOREIGN.format("writeConfig")] * 2)

    def test_port_and_baud(self) -> None:
        for port, baud, echoed in (
            (2, 0, {"modulePort": 2, "moduleBaud": 0}),
            (2, UNSET, {"modulePort": 2, "moduleBaud": 1}),
            (UNSET, 1, {"moduleBaud": 1}),
        ):
            for uid in ("100001", None):
                self.setUp()
                trip = self.begun(WriteConfig(datatype=2, uid="100001", modulePort=port, moduleBaud=baud))
                self.deliver(port_answer(uid, **echoed))
                self.assertIsInstance(trip.outcome, WriteConfigAnswer)
                self.check_strays()

    def test_other_port_or_baud(self) -> None:
        trip = self.begun(WriteConfig(datatype=2, uid="100001", modulePort=2, moduleBaud=0))
        self.deliver(port_answer(None, modulePort=1, moduleBaud=0), port_answer(None, modulePort=2))
        self.deliver(answer(None), port_answer(None))
        self.assertIsNone(trip.outcome)
        self.assertEqual(self.unexpected(), 4)
        nothing = self.begun(WriteConfig(datatype=2, uid="100002"))
        self.assertEqual((cast("WriteConfig", nothing.asked).modulePort), UNSET)
        self.pass_time(TIMEOUT_S)
        self.deliver(answer(None, None))
        self.assertEqual(self.unexpected(), 5)

    def test_reset_by_its_method(self) -> None:
        trip = self.begun(Reset())
        self.deliver(answer(), RESET_ANSWER)
        self.assertIsInstance(trip.outcome, ResetAnswer)
        self.deliver(RESET_ANSWER)
        self.check_strays(FOREIGN.format("writeConfig"), DUPLICATE.format("reset"))

    def test_reset_that_nobody_asked_for(self) -> None:
        trip = self.begun()
        self.deliver(RESET_ANSWER)
        self.assertIsNone(trip.outcome)
        self.check_strays(FOREIGN.format("reset"))

    def test_second_reset(self) -> None:
        """Their answers could not be told apart: the second is not sent."""
        first = self.begun(Reset())
        self.assertIs(self.begin(Reset()).outcome, NotSent)
        self.pass_time(TIMEOUT_S)
        self.assertIs(first.outcome, NoAnswer)
        self.deliver(RESET_ANSWER)
        self.check_strays(LATE.format("reset"))
        third = self.begun(Reset())
        self.deliver(RESET_ANSWER)
        self.assertIsInstance(third.outcome, ResetAnswer)

    def test_uid_that_is_under_way(self) -> None:
        first = self.begin()
        self.assertIs(self.begin(write(frames=STOP)).outcome, NotSent)
        self.pass_time(2 * GAP_S)
        self.deliver(answer())
        self.assertEqual(first.said, f"{AUTO},1")

    def test_duplicate(self) -> None:
        trip = self.begun()
        self.deliver(answer(), answer(params=f"{AUTO},0"), answer(None))
        self.assertEqual(trip.said, f"{AUTO},1")
        self.check_strays(*[DUPLICATE.format("writeConfig")] * 2)

    def test_uid_of_one_that_has_ended_is_not_the_next_ones(self) -> None:
        """Even where the frames are the same."""
        first = self.begun(timeout_s=1.0)
        self.pass_time(1.0)
        second = self.begun(write("100002"))
        self.deliver(answer("100001"))
        self.assertEqual((first.outcome, second.outcome), (NoAnswer, None))
        self.deliver(answer("100002"))
        self.assertEqual(second.said, f"{AUTO},1")
        self.check_strays(LATE.format("writeConfig"))

    def test_uid_of_a_command_on_another_connection(self) -> None:
        """The answer is for that command and for no other, even where the frames are the same."""
        elsewhere = self.world.fleet.uids.take()
        trip = self.begun()
        self.assertNotEqual(elsewhere, "100001")
        self.deliver(answer(elsewhere))
        self.assertIsNone(trip.outcome)
        self.check_strays(LATE.format("writeConfig"))

    def test_only_so_many_are_remembered(self) -> None:
        for number in range(MOST_REMEMBERED + 1):
            trip = self.begun(write(f"{number:06}"))
            self.deliver(answer(f"{number:06}"))
            self.assertEqual(trip.said, f"{AUTO},1")
        self.deliver(answer("000001"), answer("000000"))
        self.check_strays(DUPLICATE.format("writeConfig"), FOREIGN.format("writeConfig"))

    def test_other_connection_of_the_same_device(self) -> None:
        trip = self.begun()
        other = self.attached()
        other.deliver(answer())
        other.deliver(answer(None))
        self.assertIsNone(trip.outcome)
        self.check_strays(*[FOREIGN.format("writeConfig")] * 2)
        self.deliver(answer())
        self.assertEqual(trip.said, f"{AUTO},1")

    def test_answer_of_another_device(self) -> None:
        self.world.register(OTHER)
        write_trip, reset = self.begun(), self.begun(Reset())
        self.deliver(answer(hostid=OTHER), message("reset", OTHER))
        self.assertEqual((write_trip.outcome, reset.outcome), (None, None))
        codes = [json.loads(segment)["retcode"] for segment in self.transport.segments[-2:]]
        self.assertEqual(codes, ["000003", "000003"])
        self.assertEqual(self.world.counters.peer_errors, {Reason.FOREIGN_HOSTID: 2})

    def test_strays_do_not_fill_the_log(self) -> None:
        self.world = World()
        self.world.register()
        self.transport = self.attached()
        lines: list[object] = []
        self.patch(self.world.around.peer_log._limit, "allows", lines.append)
        self.deliver(*[answer()] * 20)
        self.assertEqual(self.unexpected(), 20)
        self.assertEqual(len(lines), 20)


class GarbageTests(RoundTripTestCase):
    def test_nothing_is_left_to_the_garbage_collector(self) -> None:
        def answered(trip: Trip) -> None:
            self.pass_time(2 * GAP_S)
            self.deliver(answer())

        def overdue(trip: Trip) -> None:
            self.pass_time(TIMEOUT_S + GAP_S)

        def overdue_unsent(trip: Trip) -> None:
            self.transport.peer_reads = False
            self.transport.deliver(message("HB", HOSTID))
            self.pass_time(TIMEOUT_S + GAP_S)

        def cancelled(trip: Trip) -> None:
            trip.deferred.cancel()

        def cancelled_late(trip: Trip) -> None:
            self.pass_time(2 * GAP_S)
            trip.deferred.cancel()

        def lost(trip: Trip) -> None:
            self.pass_time(2 * GAP_S)

        def waiting(trip: Trip) -> None:
            pass

        gc.collect()
        gc.disable()
        self.addCleanup(gc.enable)
        for course in (answered, overdue, overdue_unsent, cancelled, cancelled_late, lost, waiting):
            self.setUp()
            trip = self.begin()
            round_trips = self.session._attached
            assert round_trips is not None
            left: list[weakref.ref[Any]] = [weakref.ref(self.session), weakref.ref(trip.deferred)]
            del round_trips
            course(trip)
            self.transport.hang_up()
            del self.transport.protocol
            self.assertIsNotNone(trip.outcome)
            trip.heard.clear()
            del trip
            self.assertEqual([one() for one in left], [None, None], course.__name__)


class Machine(RuleBasedStateMachine):
    """One device with a session, asked for round trips, that answers as it likes."""

    uids = st.sampled_from(["100001", "100002", "100003"])
    frames = st.sampled_from([AUTO, STOP])

    def __init__(self) -> None:
        super().__init__()
        # Between two steps, and behind what is overdue in the same one: no rounding decides which of them comes first.
        self.world = World(limits=Limits(gap=GAP_S, idle_timeout=30.0 + 0.75 * STEP_S))
        self.world.register()
        self.strays = 0
        self.connect()

    def connect(self) -> None:
        self.trips: list[Trip] = []
        self.expected: dict[Trip, Any] = {}  # what has ended, with what
        self.unheard: set[Trip] = set()
        self.ended: set[object] = set()  # keys of those that had been sent
        self.dead = False
        self.delivered = self.handled = 1
        self.heartbeats_before = self.world.counters.messages["HB"]
        self.transport = self.world.connect()
        self.session = cast("Session", self.transport.protocol)
        self.transport.deliver(message("LongCon", HOSTID))
        self.transport.turns()
        answer = self.session._answer

        def judged(said: Any) -> Any:
            """The model judges what is delivered when the session gets to handle it, and before it does."""
            self.judge(json.loads(encode(said)))
            return answer(said)

        self.session._answer = judged  # type: ignore[assignment, method-assign]

    # What the model knows.

    def under_way(self) -> list[Trip]:
        return [trip for trip in self.trips if trip not in self.expected]

    def end(self, trip: Trip, outcome: Any) -> None:
        self.expected[trip] = outcome
        if trip.sent_at:
            self.ended.add(key(trip.asked))

    def settle(self) -> None:
        """What time has brought."""
        now = self.world.clock.seconds()
        for trip in self.under_way():
            since = trip.sent_at[0] if trip.sent_at else trip.begun
            if now > since + self.timeout_of(trip.asked):
                self.end(trip, NoAnswer if trip.sent_at else NotSent)

    def timeout_of(self, asked: WriteConfig | Reset) -> float:
        """A short one, so that some are not sent in time, and a long one; never in the same moment as anything else."""
        return 5.5 * STEP_S if isinstance(asked, Reset) else 55.5 * STEP_S

    def judge(self, said: dict[str, Any]) -> None:
        """Whose an answer is, by protocol 4.6 and 4.8."""
        self.handled += said["method"] != "HB"  # those are counted below: the same one again is answered unread
        self.settle()
        flying = [trip for trip in self.under_way() if trip.sent_at]
        if said["method"] == "reset":
            self.takes([trip for trip in flying if isinstance(trip.asked, Reset)], ResetAnswer)
        elif said["method"] == "writeConfig":
            writes = [trip for trip in flying if isinstance(trip.asked, WriteConfig)]
            uid = said.get("uid")
            if uid in self.ended or any(key(trip.asked) == uid for trip in self.under_way()):
                self.takes([trip for trip in writes if key(trip.asked) == uid], WriteConfigAnswer)
            else:
                frames = said["params"].partition(",")[0].upper()
                same = [trip for trip in writes if cast("WriteConfig", trip.asked).result == frames]
                self.takes(same if len(writes) == 1 else [], WriteConfigAnswer)

    def takes(self, trips: list[Trip], kind: type) -> None:
        if trips:
            (trip,) = trips
            self.end(trip, kind)
        else:
            self.strays += 1

    # What may happen.

    def pass_steps(self, steps: int) -> None:
        for _ in range(steps):
            self.world.clock.advance(STEP_S)
            self.transport.turns()
            self.settle()
            if self.session.ending and not self.dead:  # 30 s without a byte
                self.lose()

    def deliver(self, document: bytes) -> None:
        if not self.dead:
            self.delivered += 1
            self.transport.deliver(document)

    def begin(self, asked: WriteConfig | Reset) -> None:
        taken = any(key(trip.asked) == key(asked) for trip in self.under_way())
        trip = Trip(self.world, self.session, asked, self.timeout_of(asked))
        self.trips.append(trip)
        if taken or self.dead:
            self.expected[trip] = NotSent

    @rule(uid=uids, frames=frames)
    def ask(self, uid: str, frames: str) -> None:
        self.begin(WriteConfig(result=frames, datatype=1, uid=uid))

    @rule()
    def ask_for_a_reset(self) -> None:
        self.begin(Reset())

    @rule(uid=st.one_of(uids, st.sampled_from([None, "999999", "action"])), frames=frames, flag=st.sampled_from("01"))
    def answer(self, uid: str | None, frames: str, flag: str) -> None:
        self.deliver(answer(uid, f"{frames.lower()},{flag}"))

    @rule()
    def answer_a_reset(self) -> None:
        self.deliver(RESET_ANSWER)

    @rule(steps=st.integers(1, 30))
    def heartbeats(self, steps: int) -> None:
        for _ in range(steps):
            self.deliver(message("HB", HOSTID, params=""))
            self.pass_steps(1)

    @rule(steps=st.one_of(st.integers(1, 10), st.integers(1, 100)))
    def wait(self, steps: int) -> None:
        self.pass_steps(steps)

    @precondition(lambda self: self.trips)
    @rule(index=st.integers(0, 50))
    def cancel(self, index: int) -> None:
        trip = self.trips[-1 - index % len(self.trips)]
        before = list(trip.heard)
        trip.deferred.cancel()
        if before:
            assert trip.heard == before
        elif trip.sent_at:
            self.unheard.add(trip)
        else:
            self.end(trip, CancelledError)

    @precondition(lambda self: not self.dead)
    @rule(how=st.sampled_from(["hang_up", "half_close", "abortConnection", "close"]))
    def disconnect(self, how: str) -> None:
        getattr(self.session if how == "close" else self.transport, how)()
        for _ in range(100):  # what a peer sent before it closed its side is still handled
            if self.session.ending:
                break
            self.pass_steps(1)
        assert self.session.ending
        if not self.dead:
            self.lose()

    def lose(self) -> None:
        self.dead = True
        for trip in self.under_way():
            self.end(trip, Lost if trip.sent_at else NotSent)

    @precondition(lambda self: self.dead)
    @rule()
    def reconnect(self) -> None:
        self.check_wire()
        self.transport.hang_up()
        self.connect()

    # What always holds.

    @invariant()
    def each_has_ended_as_expected_or_not_at_all(self) -> None:
        for trip in self.trips:
            expected = CancelledError if trip in self.unheard else self.expected.get(trip)
            outcome = trip.outcome if isinstance(trip.outcome, type | None) else type(trip.outcome)
            assert outcome is expected, (outcome, expected)
            assert len(trip.sent_at) <= 1

    @invariant()
    def strays_are_counted(self) -> None:
        assert self.world.counters.peer_errors[Reason.UNEXPECTED_ANSWER] == self.strays

    @invariant()
    def waits_no_longer_than_it_has_to(self) -> None:
        """A second for the pause, and two pauses for each one that is ahead of it."""
        now = self.world.clock.seconds()
        for place, trip in enumerate(self.trips, 1):
            if trip not in self.expected and trip not in self.unheard and not trip.sent_at:
                assert now - trip.begun < 1.0 + 2 * (GAP_S + STEP_S) * place

    def check_wire(self) -> None:
        """Every segment is one message; ours are those that were sent, each once, with a pause before and after."""
        ours: Counter[bytes] = Counter()
        left_at = [-1e9, *self.transport.left_at, 1e12]
        for place, segment in enumerate(self.transport.segments, 1):
            if json.loads(segment)["method"] in ("writeConfig", "reset"):
                ours[segment] += 1
                assert left_at[place] - left_at[place - 1] > GAP_S - 1e-3
                assert left_at[place + 1] - left_at[place] > GAP_S - 1e-3
        assert ours == Counter(encode(trip.asked) for trip in self.trips if trip.sent_at)

    def teardown(self) -> None:
        if not self.dead:
            self.pass_steps(100)  # what waits gets its turn
            self.each_has_ended_as_expected_or_not_at_all()
        if not self.dead:
            heartbeats = self.world.counters.messages["HB"] - self.heartbeats_before
            assert self.handled + heartbeats == self.delivered
            self.disconnect("hang_up")
            self.each_has_ended_as_expected_or_not_at_all()
        self.strays_are_counted()
        self.check_wire()
        self.world.clock.advance(LINGER_S + 1)
        self.transport.hang_up()
        assert self.world.clock.getDelayedCalls() == []


def key(asked: WriteConfig | Reset) -> object:
    return asked.uid if isinstance(asked, WriteConfig) else Reset


class AnyInterleavingTests(SynchronousTestCase):
    def test_each_ends_once_and_rightly(self) -> None:
        run_state_machine_as_test(Machine, settings=settings(max_examples=60, stateful_step_count=40))
