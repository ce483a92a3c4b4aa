"""The gateway and the simulator with servers that are in service (protocol section 4.10): no session ends of them."""

from collections.abc import Callable
from random import Random
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import Logger, capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from cmmd.gateway.link.link import Link
from cmmd.gateway.link.source import InputStates, Source
from cmmd.gateway.poller import BusSource
from cmmd.simulator.device import SimulatedDevice
from cmmd.simulator.fleet import identities
from cmmd.simulator.genset.genset import Genset
from cmmd.wire.messages import LoginParams
from tests.fake_bus import FakeBus, FakeWiring
from tests.field_servers import AcknowledgingServer, FieldServer, ParsesOneServer, SilentClockServer
from tests.scripted_server import HOSTID, LOGIN_SERVER, TIMING_ANSWER, login_answer, run
from tests.support import compact, load_cases
from tests.test_gateway_link import LinkTestCase
from tests.world import CATALOG

START_S = 1_790_000_000.0
LASTS_S = 1800.0
ORDER_EVERY_S = 90.0
AUTO, MANUAL, STOP = "00050003FF007DEB", "00050004FF00CC2A", "00050001FF00DC2B"
ONE_UNIT = "01050003FF007C3A"


def gateway(clock: Clock) -> tuple[Source, Callable[[], int]]:
    """A gateway's source, and how many writes its controller has had."""
    bus = FakeBus()

    def turn() -> None:
        bus.registers[7] = int(clock.seconds()) % 500  # something changes, all the time
        clock.callLater(1.7, turn)

    turn()
    identity = LoginParams(hostid=HOSTID, hostname="Test", password="123456", moduletype="HGM6120N")
    inputs = InputStates(0, 0, 0, 0)
    source = BusSource(lambda: identity, bus, wiring=FakeWiring(), inputs=lambda: inputs, catalog=CATALOG, log=Logger())
    return source, lambda: len(bus.written)


def simulator(clock: Clock) -> tuple[Source, None]:
    (identity,) = identities(1, 1, "HGM6120N")
    return SimulatedDevice(identity, Genset(Random(1), clock.seconds)), None


class ServersInServiceTests(SynchronousTestCase):
    """Half an hour each."""

    def hold(self, kind: type[FieldServer], feeding: Callable[[Clock], tuple[Source, Any]]) -> FieldServer:
        clock = Clock()
        clock.rightNow = START_S
        server = kind(clock)
        source, writes = feeding(clock)
        link = Link(source, LOGIN_SERVER, clock=clock, endpoints=server.endpoint, random=Random(7))
        link.startService()
        run(clock, 5)
        ordered = 0
        with capturedLogs() as events:
            while clock.seconds() < START_S + LASTS_S:
                for frame in (AUTO, STOP, MANUAL, ONE_UNIT)[ordered % 2 :: 2]:  # two at once, the next one each time
                    ordered += 1
                    server.order(frame, f"{ordered:024x}")
                run(clock, ORDER_EVERY_S)
        self.assertEqual((len(server.of("login")), len(server.long)), (1, 1), kind)
        self.assertFalse(server.long[0].lost)
        self.assertEqual(link.counters.failures, 0)
        answered = {answer["uid"]: answer["params"] for answer in server.of("writeConfig")}
        self.assertEqual(sorted(answered), [f"{number + 1:024x}" for number in range(ordered)])
        self.assertEqual(len(server.of("writeConfig")), ordered)
        self.assertTrue(all(params.endswith(",1") for params in answered.values()))
        if writes is not None:
            self.assertEqual(writes(), ordered)  # each is done once, however it is acknowledged
        self.assertEqual(server.lost_receives, [])
        self.assertLessEqual(len(events), 3 * ordered)
        self.assertEqual(self.flushLoggedErrors(), [])
        stopped: Deferred[None] | None = link.stopService()
        run(clock, 1)
        assert stopped is not None
        self.successResultOf(stopped)
        return server

    def uploads(self, server: FieldServer) -> int:
        return len(server.of("reqdata")) + len(server.of("reqdatachange"))

    def test_one_that_parses_one_message_a_receive(self) -> None:
        for feeding in (gateway, simulator):
            server = self.hold(ParsesOneServer, feeding)
            self.assertGreater(self.uploads(server), LASTS_S / 3 - 10)
            self.assertGreaterEqual(len(server.of("HB")), 29)

    def test_one_that_never_answers_timing(self) -> None:
        for feeding in (gateway, simulator):
            server = self.hold(SilentClockServer, feeding)
            self.assertGreater(len(server.of("reqdatachange")), LASTS_S / 5 - 30)
            self.assertEqual(len(server.of("timing")), 1)

    def test_one_that_acknowledges_answers(self) -> None:
        for feeding in (gateway, simulator):
            server = self.hold(AcknowledgingServer, feeding)
            self.assertLess(abs(self.uploads(server) - LASTS_S / 15), 40)


class CaseTests(LinkTestCase):
    """Each message of the vectors alone, to a device with a session."""

    def test_the_session_lasts(self) -> None:
        for case in load_cases("servers_in_service"):
            for together in (1, 3):
                with self.subTest(case["when"], wire=case["wire"], together=together):
                    self.prepare()
                    self.source.obey = lambda frame: True
                    self.source.stops = {STOP}
                    if case["when"] == "timing":
                        self.server.replies["timing"] = case["wire"] and case["wire"].encode()
                        live = self.attached(45)
                    elif case["when"] == "login":
                        self.server.replies["login"] = case["wire"].encode()
                        self.start(45)
                        live = self.server.last
                    elif case["when"] == "upload":
                        self.server.replies["reqdata"] = case["wire"].encode()
                        live = self.attached(45)
                    else:
                        live = self.attached(1)
                        live.send({"result": AUTO, "datatype": 1, "uid": "7", "method": "writeConfig"})
                        run(self.clock, 1)
                        live.send(case["wire"].encode() * together)
                        run(self.clock, 45)
                    self.assertEqual(live.gone, case.get("ends", False))
                    self.assertEqual(self.source.written[1:], case.get("done", []) * together)
                    answers = live.of("writeConfig")
                    self.assertEqual(
                        [(one["params"], one.get("uid")) for one in answers[1:]],
                        [tuple(answer) for answer in case.get("answered", [])] * together,
                    )
                    self.assertEqual(self.flushLoggedErrors(), [])
                    if not case.get("ends"):
                        self.assertGreaterEqual(self.link.counters.uploads, case.get("uploads", 14))
                        self.assertEqual(len(self.server.attempts), 2)
                    self.stop()

    def test_in_any_segments(self) -> None:
        """Answers joined in one receive, or cut anywhere, and each one twice."""
        live = self.attached(0.5)
        self.server.latency = 1e9
        run(self.clock, 3)
        stream = (
            compact(TIMING_ANSWER)
            + b'\n{"method":"reqdata ","retcode":"000000"}'
            + compact(compact(login_answer()).decode())
        )
        for size in (1, 7, 50, len(stream)):
            for start in range(0, len(stream), size):
                live.send(stream[start : start + size])
        self.assertFalse(live.gone)
        self.assertEqual(self.link.counters.uploads, 1)

    def test_an_order_like_the_last_one_is_an_order(self) -> None:
        """The vendor's uid is always the same word, and an operator can press a button twice."""
        self.source.obey = lambda frame: True
        live = self.attached(1)
        order = {"result": AUTO, "datatype": 1, "uid": "action", "method": "writeConfig"}
        coded = {**order, "uid": "other", "message": "OK", "retcode": "000000"}
        for message in (order, order, coded, coded, coded, {**order, "retcode": "000000"}):
            live.send(message)
            run(self.clock, 5)
        # The second coded one may acknowledge the first, however late; the last one acknowledges the first of all.
        self.assertEqual(self.source.written, [AUTO] * 4)
