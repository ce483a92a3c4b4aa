"""``cmmd.gateway.link.link``: a device logs in, stays, comes back, and nothing that a server does kills it."""

from itertools import pairwise
from random import Random
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectingCancelledError
from twisted.internet.task import Clock
from twisted.logger import Logger, LogLevel, capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from cmmd.gateway.link.address import Address
from cmmd.gateway.link.link import REWIRE_AGAIN_S, Link
from cmmd.gateway.link.source import NO_INPUTS, InputStates, Source
from cmmd.wire.splitter import MAX_FRAME
from tests.scripted_server import (
    HOSTID,
    LIVE_SERVER,
    LOGIN_SERVER,
    PLAN,
    RESET,
    Accepted,
    ScriptedServer,
    ScriptedSource,
    login_answer,
    run,
)
from tests.support import DOCUMENT_EXAMPLES, FIELD_EXAMPLES, cut, places

START = 1_700_000_000.0


class LinkTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.prepare()

    def prepare(self, seed: int = 1, **options: Any) -> None:
        self.clock = Clock()
        self.clock.rightNow = START
        self.server = ScriptedServer(self.clock)
        self.source = ScriptedSource()
        self.link = Link(
            self.feeding(),
            LOGIN_SERVER,
            clock=self.clock,
            endpoints=self.server.endpoint,
            random=Random(seed),
            **options,
        )

    def feeding(self) -> Source:
        """What the link is made on."""
        return self.source

    def start(self, seconds: float = 0) -> None:
        self.link.startService()
        self.addCleanup(self.stop)
        run(self.clock, seconds)

    def stop(self) -> None:
        """Stop the link, which has to leave nothing behind."""
        if not self.link.running:
            return
        stopped: Deferred[None] | None = self.link.stopService()
        assert stopped is not None
        run(self.clock, 1.0)
        self.successResultOf(stopped)
        self.assertTrue(self.server.all_gone())
        self.assertIsNone(self.link.session)
        self.assertEqual(self.link.counters.online, 0)
        attempts = len(self.server.attempts)
        for call in self.clock.getDelayedCalls():
            call.cancel()  # replies that the scripted server still had in hand
        self.assertEqual(len(self.server.attempts), attempts)

    def attached(self, seconds: float = 0.2) -> Accepted:
        """Start, and give the long connection."""
        self.start(seconds)
        self.assertEqual([one.address for one in self.server.connections], [LOGIN_SERVER, LIVE_SERVER])
        self.assertEqual(self.link.counters.online, 1)
        return self.server.last

    def waits(self) -> list[float]:
        """Seconds between the attempts to log in."""
        times = [time for time, address in self.server.attempts if address == LOGIN_SERVER]
        return [later - earlier for earlier, later in pairwise(times)]

    def assert_comes_back(self, within: float = 2.0) -> None:
        """The connections that stand go, and the device is attached again soon."""
        before = len(self.server.connections)
        self.server.replies.update(ScriptedServer(self.clock).replies)
        run(self.clock, within)
        self.assertTrue(all(connection.gone for connection in self.server.connections[:before]))
        self.assertGreater(len(self.server.connections), before)
        self.assertEqual(self.link.counters.online, 1)
        self.assertEqual(self.flushLoggedErrors(), [])


class WayTests(LinkTestCase):
    """Login on a short connection, then the long one."""

    def test_the_way_in(self) -> None:
        live = self.attached()
        login = self.server.connections[0]
        identity = {"hostid": HOSTID, "hostname": "Test", "password": "123456", "moduletype": "HGM6120N"}
        self.assertEqual(
            login.received, [{"method": "login", "params": {**identity, "modulePort": 2, "moduleBaud": 0}}]
        )
        self.assertTrue(login.gone)
        self.assertTrue(live.no_delay)
        self.assertEqual(live.received[0], {"method": "LongCon", "hostid": HOSTID})
        self.assertEqual(live.received[1], {"method": "timing", "hostid": HOSTID})
        self.assertEqual(self.source.followed, [(PLAN, 1)])
        self.assertEqual(self.link.counters.logins, 1)

    def test_another_wiring_than_was_told(self) -> None:
        """An override of cmmd's: followed, and told by another login. What cannot be done is not tried at each."""
        for works, logins, ports in ((True, 3, [(None, 1)]), (False, 2, [(None, 1)])):
            with self.subTest(works=works):
                self.prepare(follow_wiring=True)
                self.source.port_works = works
                self.server.replies["login"] = login_answer(moduleBaud=1)
                self.start(1)
                self.server.last.send(RESET)
                run(self.clock, 10)
                self.assertEqual(self.source.ports, ports)
                self.assertEqual(self.link.counters.logins, logins)
                self.assertEqual(self.link.counters.failures, 0)
                self.stop()

    def test_another_wiring_that_cannot_be_had_now(self) -> None:
        """While remote control is inhibited it is not asked for; what could not be done is tried again, but seldom."""
        self.prepare(follow_wiring=True)
        self.source.input_states = InputStates(inhibit_remote=1)
        self.server.replies["login"] = login_answer(moduleBaud=1)
        self.start(1)
        self.assertEqual(self.source.ports, [])
        self.source.input_states = NO_INPUTS
        for after_s, times in ((0, 1), (10, 1), (REWIRE_AGAIN_S, 2), (10, 2)):
            run(self.clock, after_s)
            self.server.last.send(RESET)
            run(self.clock, 5)
            self.assertEqual(len(self.source.ports), times)

    def test_a_speed_that_was_not_told(self) -> None:
        """It has no code, and what the server repeats is from another time."""
        self.prepare(follow_wiring=True)
        self.source.port_works = True
        self.source.wires = (2, None)
        self.server.replies["login"] = login_answer(modulePort=2, moduleBaud=0)
        self.start(3)
        self.assertEqual(self.source.ports, [])
        self.assertNotIn("moduleBaud", self.server.connections[0].of("login")[0]["params"])

    def test_another_wiring_of_a_server_that_is_not_ours(self) -> None:
        self.server.replies["login"] = login_answer(moduleBaud=1, modulePort=4)
        self.attached()
        self.assertEqual(self.source.ports, [])

    def test_nothing_but_longcon_before_its_answer(self) -> None:
        self.server.replies["LongCon"] = None
        self.start(19)
        self.assertEqual(self.server.last.methods, ["LongCon"])
        self.assertEqual(self.link.counters.online, 0)

    def test_first_delay(self) -> None:
        self.prepare(first_delay=1.5)
        self.start(1.4)
        self.assertEqual(self.server.attempts, [])
        run(self.clock, 0.2)
        self.assertEqual(self.server.attempts[0], (START + 1.5, LOGIN_SERVER))

    def test_uploads_go_to_login_where_no_answer_is_followed(self) -> None:
        self.prepare(follow=False)
        self.start(5)
        self.assertEqual([one.address for one in self.server.connections], [LOGIN_SERVER, LOGIN_SERVER])
        self.assertNotEqual(self.server.last.of("reqdata"), [])

    def test_the_fields_login_answer_is_followed(self) -> None:
        (field,) = (one for one in FIELD_EXAMPLES if one.object["method"] == "login")
        self.server.replies["login"] = field.wire
        self.start(31)
        self.assertEqual(
            [address for _, address in self.server.attempts], [LOGIN_SERVER, Address("8.136.108.133", 21318)]
        )
        self.assertEqual(self.source.followed, [(PLAN, 1)])
        self.assertIn(len(self.server.last.of("reqdata")), (10, 11))

    def test_the_papers_login_answer_is_followed(self) -> None:
        (paper,) = (one for one in DOCUMENT_EXAMPLES if one.name == "login.answer")
        self.server.replies["login"] = paper.wire
        self.start(4)
        self.assertEqual(self.server.last.address, Address("192.168.0.194", 81))
        self.assertEqual(self.link.counters.online, 1)

    @given(places(400))
    @example(list(range(400)))
    def test_answers_cut_anywhere(self, where: list[int]) -> None:
        self.prepare()
        (field,) = (one for one in FIELD_EXAMPLES if one.object["method"] == "login")
        self.server.replies["login"] = None
        self.start(0.1)
        for segment in cut(field.wire, where):
            self.server.last.send(segment)
        run(self.clock, 0.2)
        self.assertEqual(self.link.counters.online, 1)
        self.stop()

    def test_data_mode_overridden(self) -> None:
        self.prepare(data_mode=0)
        self.attached()
        self.assertEqual(self.source.followed, [(PLAN, 0)])


class BackoffTests(LinkTestCase):
    """Whatever ends an attempt or a session: the wait grows from about 1 s to 30 s, with jitter."""

    def test_waits_grow_to_the_cap(self) -> None:
        self.server.accepting = False
        self.start(400)
        waits = self.waits()
        for wait, step in zip(waits, [1.5, 3, 6, 12, 24] + [30] * 100, strict=False):
            self.assertGreaterEqual(wait, step / 2 - 0.001)
            self.assertLessEqual(wait, step + 0.001)
        self.assertGreater(len(waits), 15)
        self.assertEqual(len(set(waits)), len(waits))
        self.assertEqual(self.link.counters.failures, len(waits) + 1)

    def test_links_do_not_come_in_step(self) -> None:
        seen = set()
        for seed in range(20):
            self.prepare(seed)
            self.server.accepting = False
            self.start(3)
            seen.add(self.waits()[0])
            self.stop()
        self.assertEqual(len(seen), 20)

    def test_register_0(self) -> None:
        self.server.replies["login"] = {
            **login_answer(register=0, liveData="", historic="", para_command="", con_command=""),
            "retcode": "000004",
        }
        with capturedLogs() as events:
            self.start(100)
        self.assertTrue(all(address == LOGIN_SERVER for _, address in self.server.attempts))
        self.assertGreater(len(self.waits()), 4)
        self.assertGreater(self.waits()[4], 11)
        self.assertEqual([event["reason"] for event in events], ["login refused, retcode '000004'"])
        self.server.replies["login"] = login_answer()
        run(self.clock, 31)
        self.assertEqual(self.link.counters.online, 1)

    def test_a_good_session_starts_it_over(self) -> None:
        self.server.accepting = False
        self.start(100)
        self.server.accepting = True
        run(self.clock, 31 + 31)
        self.assertEqual(self.link.counters.online, 1)
        self.server.last.lose()
        run(self.clock, 1.6)
        self.assertEqual(self.link.counters.online, 1)

    def test_a_short_session_does_not(self) -> None:
        self.server.replies["timing"] = lambda connection: connection.lose()
        self.start(200)
        waits = self.waits()
        self.assertGreater(len(waits), 4)
        for wait in waits[4:]:
            self.assertGreater(wait, 11)
        self.assertEqual(self.link.counters.logins, len(waits) + 1)

    def test_the_same_reason_is_logged_once(self) -> None:
        self.server.accepting = False
        with capturedLogs() as events:
            self.start(300)
            self.server.accepting = True
            self.server.replies["login"] = {**login_answer(register=0), "retcode": "000005"}
            run(self.clock, 100)
        self.assertEqual(
            [event["reason"] for event in events],
            [
                "cannot connect to login.example:21318: 'Connection was refused by other side.'",
                "login refused, retcode '000005'",
            ],
        )

    def test_after_a_good_session_it_is_logged_again(self) -> None:
        with capturedLogs() as events:
            self.start(1)
            for _ in range(2):
                run(self.clock, 40)
                self.server.last.lose()
                run(self.clock, 5)
        warnings = [event["reason"] for event in events if event["log_level"] is LogLevel.warn]
        self.assertEqual(len(warnings), 2)
        self.assertEqual(len(set(warnings)), 1)


class TimeoutTests(LinkTestCase):
    """No answer within 20 s ends the connection."""

    def silent(self, method: str, after: float = 0) -> None:
        self.server.replies[method] = None
        self.start(after)
        asked = self.clock.seconds()
        while not self.server.connections or not self.server.last.of(method):
            run(self.clock, 0.1)
            self.assertLess(self.clock.seconds() - asked, 5)
        connection = self.server.last
        run(self.clock, connection.times_of(method)[0] + 19.9 - self.clock.seconds())
        self.assertFalse(connection.gone)
        self.assertEqual(len(connection.of(method)), 1)  # never two unanswered ones
        run(self.clock, 0.2)
        self.assertTrue(connection.gone)
        self.assert_comes_back()

    def test_login(self) -> None:
        self.silent("login")

    def test_longcon(self) -> None:
        self.silent("LongCon")

    def test_heartbeat(self) -> None:
        self.silent("HB")

    def test_upload(self) -> None:
        self.silent("reqdata")

    def test_connection_that_never_comes(self) -> None:
        self.server.accepting = None
        self.start(10)
        self.stop()
        self.assertEqual(self.server.cancelled, 1)


class NonsenseTests(LinkTestCase):
    """What no sensible server says: a line in the log, another attempt, no traceback."""

    NONSENSE = (
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"{]}}" * 10,
        b'{"method":1}',
        b"[1,2]",
        b'{"method":"login","result":7}',
        b'{"method":"writeConfig"}',
        b'{"method":"timing","retcode":"000000"}',
        b'{"method":"error","message":"what?","retcode":"000001"}',
        b'{"a":' * 17,
        b'{"' + b"a" * MAX_FRAME,
        b"\xff\xfe\x00",
    )

    SENSELESS = (
        b'{"method":1}',
        b'{"method":"login","result":7}',
        b'{"method":"writeConfig"}',
        b'{"method":"timing","retcode":"000000"}',
        b'{"method":"error","message":"what?","retcode":"000001"}',
    )
    """Messages that make no sense in a session, and end none."""

    def test_messages_in_a_session(self) -> None:
        for senseless in self.SENSELESS:
            with self.subTest(senseless), capturedLogs() as events:
                self.prepare()
                live = self.attached()
                before = len(events)
                for _ in range(10):
                    live.send(senseless)
                run(self.clock, 60)
                self.assertFalse(live.gone)
                self.assertLessEqual(len(events) - before, 1)
                self.assertEqual(live.of("writeConfig"), [])
                self.stop()

    def test_instead_of_the_login_answer(self) -> None:
        for nonsense in self.NONSENSE:
            with self.subTest(nonsense[:20]), capturedLogs() as events:
                self.prepare()
                self.server.replies["login"] = nonsense
                self.start(0.5)
                self.assertTrue(self.server.last.gone)
                self.assertEqual([event["log_level"] for event in events], [LogLevel.warn])
                self.assertTrue(events[0]["reason"].isprintable())
                self.assertLess(len(events[0]["reason"]), 200)
                self.assert_comes_back()
                self.stop()

    def test_in_a_session(self) -> None:
        """What is no JSON ends it: an order behind it could be part of something else."""
        for nonsense in self.NONSENSE:
            if nonsense in self.SENSELESS:
                continue
            with self.subTest(nonsense[:20]):
                self.prepare()
                live = self.attached()
                live.send(nonsense)
                run(self.clock, 0.1)
                self.assertTrue(live.gone)
                self.assert_comes_back()
                self.stop()

    @given(st.binary(max_size=200))
    @example(b'{"method":"reset"}{')
    @example(b'{"method":"writeConfig","datatype":1,"uid":"1","result":";,;"}' * 40)
    @example(b'{"method":"timing","result":"' + b"9" * 5000 + b'"}')
    def test_any_bytes(self, nonsense: bytes) -> None:
        self.prepare()
        self.attached().send(nonsense)
        run(self.clock, 40)
        self.assertEqual(self.link.counters.online, 1)
        self.assertEqual(self.flushLoggedErrors(), [])
        self.stop()

    @given(
        st.fixed_dictionaries(
            {},
            optional={
                key: st.one_of(st.text(max_size=30), st.integers(-(2**70), 2**70), st.none(), st.floats(), st.just({}))
                for key in login_answer()["result"]
            },
        )
    )
    def test_any_orders(self, result: dict[str, Any]) -> None:
        self.prepare()
        self.server.replies["login"] = login_answer(**result)
        self.start(5)
        self.server.replies["login"] = login_answer()
        if self.server.connections[-1].address == LOGIN_SERVER:
            run(self.clock, 10)
        self.assertEqual(self.link.counters.online, 1)
        self.assertEqual(self.flushLoggedErrors(), [])
        self.stop()

    def test_nothing_after_nonsense_is_taken(self) -> None:
        live = self.attached()
        live.send(b'nonsense {"method":"writeConfig","datatype":1,"uid":"1","result":"00050003FF007DEB"}')
        live.send(b'{"method":"writeConfig","datatype":1,"uid":"2","result":"00050003FF007DEB"}')
        run(self.clock, 0.5)
        self.assertEqual(self.source.written, [])

    def test_addresses(self) -> None:
        for address in ("", "host", "host:", ":1", "host:0", "host:65536", "a b:1", "[::1:5", "[1.2.3]:5", "h:1\n\n{}"):
            with self.subTest(address), capturedLogs() as events:
                self.prepare()
                self.server.replies["login"] = login_answer(liveData=address)
                self.start(0.5)
                self.assertEqual([one for _, one in self.server.attempts], [LOGIN_SERVER])
                self.assertIn("liveData makes no sense", events[0]["reason"])
                self.assertTrue(events[0]["reason"].isprintable())
                self.assert_comes_back()
                self.stop()

    def test_a_plan_that_the_source_cannot_follow(self) -> None:
        def follow(plan: str, data_mode: int) -> None:
            raise ValueError(f"no such thing: {plan}")

        self.patch(self.source, "follow", follow)
        with capturedLogs() as events:
            self.start(0.5)
        self.assertEqual(
            [event["reason"] for event in events],
            [f"the server's para_command makes no sense: 'no such thing: {PLAN}'"],
        )
        self.assertEqual(len(self.server.connections), 1)

    def test_an_unknown_method_is_ignored(self) -> None:
        live = self.attached()
        with capturedLogs() as events:
            live.send({"method": "newfangled"})
            live.send({"method": "newfangled"})
        self.assertEqual(len(events), 1)
        run(self.clock, 10)
        self.assertFalse(live.gone)

    def test_an_answer_to_nothing_is_ignored(self) -> None:
        live = self.attached()
        for answer in self.server.replies.values():
            assert isinstance(answer, dict)
            live.send(answer)
        run(self.clock, 10)
        self.assertFalse(live.gone)

    def test_a_command_before_the_session(self) -> None:
        self.server.replies["login"] = b'{"method":"writeConfig","datatype":1,"uid":"1","result":"00"}'
        self.start(1)
        self.assertEqual((self.source.written, self.server.last.methods), ([], ["login"]))


class OurBugTests(LinkTestCase):
    def test_a_bug_in_the_source_is_told_in_full_and_survived(self) -> None:
        live = self.attached()
        with self.patched_upload():
            run(self.clock, 4)
        self.assertTrue(live.gone)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), self.bugs)
        self.assertGreater(self.bugs, 0)
        run(self.clock, 10)
        self.assertEqual(self.link.counters.online, 1)

    def patched_upload(self) -> Any:
        self.bugs = 0

        async def upload() -> str:
            self.bugs += 1
            return str(1 // 0)

        patch = self.patch(self.source, "full_upload", upload)

        class Patched:
            def __enter__(self) -> None:
                pass

            def __exit__(self, *_: object) -> None:
                patch.restore()

        return Patched()


class StopTests(LinkTestCase):
    """stopService in every state; ``stop`` checks what is left behind."""

    def test_before_the_first_attempt(self) -> None:
        self.prepare(first_delay=5)
        self.start(1)
        self.stop()
        self.assertEqual(self.server.attempts, [])

    def test_while_logging_in(self) -> None:
        self.server.replies["login"] = None
        self.start(1)
        self.stop()
        self.assertTrue(self.server.last.disconnecting)
        self.assertFalse(self.server.last.disconnected)

    def test_while_attaching(self) -> None:
        self.server.replies["LongCon"] = None
        self.start(1)
        self.stop()

    def test_in_a_session(self) -> None:
        live = self.attached(5)
        self.stop()
        self.assertTrue(live.disconnecting)  # in good order

    def test_with_an_upload_unanswered(self) -> None:
        self.server.replies["reqdata"] = None
        live = self.attached(5)
        self.assertEqual(len(live.of("reqdata")), 1)
        self.stop()

    def test_while_waiting(self) -> None:
        self.server.accepting = False
        self.start(10)
        self.stop()

    def test_while_connecting_with_an_endpoint_of_twisted(self) -> None:
        connecting: list[Deferred[Any]] = []

        def accept(address: object, factory: object) -> Deferred[Any]:
            connecting.append(Deferred(lambda cancelled: cancelled.errback(ConnectingCancelledError(None))))
            return connecting[0]

        self.patch(self.server, "accept", accept)
        self.start(1)
        self.stop()
        self.assertTrue(connecting[0].called)

    def test_a_stuck_connection_is_cut_after_a_second(self) -> None:
        live = self.attached()
        live.stuck = True
        self.stop()
        self.assertTrue(live.disconnecting)

    def test_while_a_stuck_login_closes(self) -> None:
        self.server.replies["login"] = None
        self.start(0.5)
        self.server.last.stuck = True
        self.server.last.send(login_answer())
        run(self.clock, 0.5)
        self.assertFalse(self.server.last.gone)
        stopped = self.link.stopService()
        self.assertFalse(self.server.last.gone)
        assert stopped is not None
        self.assertNoResult(stopped)
        run(self.clock, 0)
        self.successResultOf(stopped)
        self.assertEqual((self.server.all_gone(), self.clock.getDelayedCalls()), (True, []))

    def test_after_the_server_closed_the_login_first(self) -> None:
        def close(connection: Accepted) -> dict[str, Any]:
            connection.stuck = True
            self.clock.callLater(0.02, connection.lose)
            return login_answer()

        self.server.replies["login"] = close
        self.attached()

    def test_nothing_ticks_afterwards(self) -> None:
        self.attached(10)
        self.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_stop_without_start(self) -> None:
        self.assertIsNone(self.link.stopService())

    def test_start_again(self) -> None:
        self.attached()
        self.stop()
        self.start(1)
        self.assertEqual(self.link.counters.online, 1)
        self.assertEqual(len(self.server.connections), 4)


class ResetTests(LinkTestCase):
    def test_reset(self) -> None:
        live = self.attached(5)
        live.send(RESET)
        at = self.clock.seconds()
        run(self.clock, 0.1)
        self.assertEqual(live.received[-1], {"method": "reset", "hostid": HOSTID})
        self.assertTrue(live.gone)
        self.assertTrue(live.disconnecting)  # in good order: the answer gets out
        run(self.clock, 2)
        self.assertEqual([one.address for one in self.server.connections[2:]], [LOGIN_SERVER, LIVE_SERVER])
        self.assertGreaterEqual(self.server.attempts[2][0] - at, 0.5)
        self.assertEqual(self.link.counters.failures, 0)
        self.assertEqual(self.link.counters.commands, 1)

    def test_reset_over_and_over_is_no_busy_loop(self) -> None:
        self.server.replies["LongCon"] = b'{"method":"LongCon","retcode":"000000"}{"method":"reset"}'
        self.start(60)
        self.assertLess(len(self.server.connections), 2 * 60 / 0.5)
        self.assertGreater(self.link.counters.commands, 30)


class LoggerTests(LinkTestCase):
    def test_all_lines_go_to_the_given_logger(self) -> None:
        lines: list[Any] = []
        self.prepare(log=Logger(observer=lines.append))  # type: ignore[arg-type]
        with capturedLogs() as events:
            self.attached().send(b"nonsense")
            run(self.clock, 0.1)
        self.assertEqual(list(events), [])
        self.assertEqual([line["log_level"] for line in lines], [LogLevel.info, LogLevel.warn])
