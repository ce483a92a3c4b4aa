"""Bad input of every kind, while well-behaved devices beside it notice nothing. Floods and loads: tests_slow.

One real daemon and one fleet serve all tests: none of them may harm either. What the devices see is written to the test
log; how long they may wait is measured by ``bench/bench_abuse.py``, and bounded in ``tests_long/test_times.py``.
Every wait in here has its own limit, for trial's ``timeout`` cannot end what blocks.
"""

import atexit
import contextlib
import json
import random
import shutil
import socket
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from twisted.logger import Logger
from twisted.trial.unittest import SynchronousTestCase

from bench.bench_web_hostile import BOUND_MS, exit_status
from cmmd.fleet.service.tokens import Tokens
from tests import abuse
from tests.bad_input import BadInput, Expected, bad_input
from tests.browsers import FOREIGN
from tests.daemon import Daemon, Sections, endpoint, service_port
from tests.hostile_http import ATTACKS, FLOODS
from tests.plain_device import PlainDevice, login, message, register
from tests.steady_fleet import PATIENCE_S, Report, SteadyFleet

log = Logger()

HOSTID = "3439333633355115004B003D"
MOST_GROWTH_KIB = 30 * 1024
BAD_KINDS = 100


class Abused:
    """A daemon, the devices beside, and what the daemon's memory was before the abuse."""

    def __init__(self, configuration: Sections, devices: int = 100) -> None:
        folder = Path(mkdtemp(prefix="cmmd-abuse-"))
        atexit.register(shutil.rmtree, folder)
        self.daemon = Daemon(folder, configuration)
        atexit.register(self.daemon.kill)
        self.daemon.start()
        self.fleet = SteadyFleet(self.daemon.port, devices)
        atexit.register(self.fleet.stop)
        register(self.daemon.port, HOSTID)
        self.resident_kib = self.daemon.resident_kib


@cache
def abused() -> Abused:
    """The same for all tests."""
    return Abused(abuse.CONFIGURATION, devices=10)


class AbuseTestCase(SynchronousTestCase):
    """Abuse, after which everything else has to be as if it had not been."""

    context = staticmethod(abused)
    most_growth_kib = MOST_GROWTH_KIB
    longest_wait_ms = 1000 * PATIENCE_S  # what lasts longer is a fault for a device
    longest_ms = longest_wait_ms  # of 99 % the one above, of all this one

    def setUp(self) -> None:
        self.abused = self.context()
        self.daemon = self.abused.daemon
        self.port = self.daemon.port
        self.abused.fleet.report()

    def tearDown(self) -> None:
        self.assertTrue(self.daemon.alive, self.daemon.log)
        report = self.abused.fleet.report()
        growth = self.daemon.peak_kib - self.abused.resident_kib
        log.info("{test}: {report}; grown by {growth} KiB at most", test=self.id(), report=report, growth=growth)
        self.assertEqual(report.faults, [])
        self.assertLess(report.p99_ms, self.longest_wait_ms)
        self.assertLess(report.max_ms, self.longest_ms)
        self.assertLess(growth, self.most_growth_kib)
        for word in ("Traceback", "Unhandled"):
            self.assertNotIn(word, self.daemon.log)
        answer = register(self.port, "FRESH" + str(random.randrange(10**12)))
        self.assertEqual((answer["retcode"], answer["result"]["register"]), ("000000", 1))

    def attached(self) -> PlainDevice:
        device = PlainDevice(self.port)
        self.addCleanup(device.socket.close)
        self.assertEqual(device.ask(message("LongCon", HOSTID))["retcode"], "000000")
        return device


class BadInputTests(AbuseTestCase):
    """Kind by kind, each with its documented answer."""

    def test_on_a_long_connection(self) -> None:
        kinds = bad_input(HOSTID)
        self.assertGreater(len(kinds), BAD_KINDS)
        log.info("{count} kinds of bad input", count=len(kinds))
        wrong = [f"{kind.name}: {error}" for kind in kinds if (error := self.error_of(kind))]
        self.assertEqual(wrong, [], "\n".join(["", *wrong]))

    def error_of(self, kind: BadInput) -> str:
        """What is wrong about the answers to it; empty: nothing."""
        with PlainDevice(self.port) as device:
            heartbeat = message("HB", HOSTID)
            device.send(message("LongCon", HOSTID))
            device.receive()
            # Most of the time the one after the bad one comes with it; where the server closes, it may come too late.
            device.send(kind.sent, b"" if kind.closes else heartbeat)
            try:
                for expected in kind.answers:
                    if not fits(answer := json.loads(device.receive()), expected):
                        return f"{answer} instead of {expected}"
                if kind.closes:
                    late = abuse.until_end(device.socket, abuse.PATIENCE_S) if kind.drops else device.rest()
                    return f"{late!r} after the last answer" if late else ""
                for _ in range(2):
                    if (answer := json.loads(device.receive()))["retcode"] != "000000":
                        return f"{answer} to the heartbeat after it"
                    device.send(heartbeat)
            except (OSError, AssertionError) as error:
                return repr(error)
            return ""

    def test_first_thing_on_a_connection(self) -> None:
        """What is no message leaves a connection new: it can still become a session."""
        kinds = [kind for kind in bad_input(HOSTID) if kind.name.startswith(("garbage", "not JSON", "number in HB: "))]
        for kind in kinds:
            with PlainDevice(self.port) as device:
                device.send(kind.sent, b"" if kind.closes else message("LongCon", HOSTID))
                for expected in kind.answers:
                    answer = json.loads(device.receive())
                    self.assertTrue(fits(answer, expected), f"{kind.name}: {answer}")
                if kind.closes:
                    self.assertEqual(device.rest(), b"", kind.name)
                else:
                    self.assertEqual(json.loads(device.receive())["method"], "LongCon", kind.name)

    def test_other_protocols(self) -> None:
        """A login behind what a browser sends is not obeyed."""
        for name, stream in FOREIGN.items():
            with PlainDevice(self.port) as device:
                device.send(stream)
                self.assertEqual(abuse.until_end(device.socket, abuse.PATIENCE_S), b"", name)
        with PlainDevice(self.port) as device:
            answer = device.ask(message("LongCon", "BROWSER1"))
            self.assertEqual(answer["retcode"], "000003")

    def test_logins_with_wrong_fields(self) -> None:
        """On a short connection each is refused, with the field's name, and closed."""
        kinds = [kind for kind in bad_input(HOSTID) if kind.name.startswith("login: ")]
        self.assertGreater(len(kinds), 50)
        for kind in kinds:
            with PlainDevice(self.port) as device:
                device.send(kind.sent)
                answer = json.loads(device.rest())
                self.assertTrue(fits(answer, kind.answers[0]), f"{kind.name}: {answer}")
                self.assertEqual(answer["result"]["register"], 0, kind.name)

    def test_random_bytes(self) -> None:
        """Braces among them: whatever they look like, nothing comes but errors, three at most, and an end."""
        source = random.Random(366)
        for length in (1, 10, 100, 1000, 100_000):
            for seed in range(20):
                alphabet = source.randbytes(length) if seed % 2 else bytes(source.choices(b'{}[]":,\\ua1 ', k=length))
                with PlainDevice(self.port) as device:
                    device.send(alphabet)
                    device.socket.shutdown(socket.SHUT_WR)
                    answers = documents(abuse.until_end(device.socket, abuse.PATIENCE_S))
                    self.assertTrue(all(answer["retcode"] == "000001" for answer in answers), f"{alphabet!r}")
                    frame_errors = [answer for answer in answers if "method" not in answer["message"]]
                    self.assertLessEqual(len(frame_errors), 3, f"{alphabet!r}")


class CutTests(AbuseTestCase):
    """Peers that stop in the middle."""

    whole = (
        login(HOSTID),
        message("LongCon", HOSTID),
        message("HB", HOSTID, params=""),
        message("reqdata", HOSTID, params="010300020001B9F4"),
        message("reqdatachange", HOSTID, params={"packetnum": 1, "03": [{"0000": "EF00"}]}),
        message("timing", HOSTID),
    )

    def test_message_cut_off_and_closed(self) -> None:
        for text in self.whole:
            for place in range(1, len(text), 7):
                with PlainDevice(self.port) as device:
                    device.send(text[:place])
                    device.socket.shutdown(socket.SHUT_WR)
                    self.assertEqual(device.rest(), b"", text[:place])

    def test_message_cut_off_and_reset(self) -> None:
        for text in self.whole:
            for place in range(1, len(text) + 1, 7):
                device = PlainDevice(self.port)
                device.send(text[:place])
                device.reset()

    def test_answer_to_the_last_message_before_a_half_close(self) -> None:
        for text in self.whole:
            with PlainDevice(self.port) as device:
                device.send(text)
                device.socket.shutdown(socket.SHUT_WR)
                self.assertEqual(json.loads(device.rest())["retcode"], "000000", text)
        with PlainDevice(self.port) as device:
            device.send(self.whole[1], self.whole[2] * 9)
            device.socket.shutdown(socket.SHUT_WR)
            self.assertEqual([answer["retcode"] for answer in documents(device.rest())], ["000000"] * 10)


class HostileHTTPTests(SynchronousTestCase):
    """HTTP clients without a token beside a device; how fast it is answered is measured by bench_web_hostile."""

    def test_every_attack_on_eight_connections_at_once(self) -> None:
        folder = Path(mkdtemp(prefix="cmmd-abuse-"))
        self.addCleanup(shutil.rmtree, folder)
        port = service_port()
        daemon = Daemon(folder, {"web": {"listen": [endpoint(port)]}})
        self.addCleanup(daemon.kill)
        daemon.state.mkdir()
        Tokens(daemon.state).add("operator", "operator")
        daemon.start([daemon.port, port])
        with abuse.attach(daemon.port, HOSTID) as device:
            logged = len(daemon.log)
            for name, request in (*ATTACKS.items(), *FLOODS.items()):
                with ExitStack() as stack:
                    hostile = [stack.enter_context(socket.create_connection(("127.0.0.1", port))) for _ in range(8)]
                    for connection in hostile:
                        connection.setblocking(False)
                        with contextlib.suppress(OSError):  # trial has a meaning of its own for the bare name
                            connection.send(request)
                    answer = device.ask(message("HB", HOSTID))
                    self.assertEqual(answer["retcode"], "000000", name)
        self.assertTrue(daemon.alive)
        said = daemon.log[logged:]
        self.assertNotIn("Traceback", said)
        self.assertLess(len(said), 5000, said)


def fits(answer: dict[str, Any], expected: Expected) -> bool:
    same = (answer["method"], answer["retcode"]) == (expected.method, expected.retcode)
    return same and expected.mentions in answer.get("message", "")


def documents(received: bytes) -> list[dict[str, Any]]:
    """Documents without anything between them."""
    decoder, text, place, found = json.JSONDecoder(), received.decode(), 0, []
    while place < len(text):
        document, place = decoder.raw_decode(text, place)
        found.append(document)
    return found


class BenchTests(SynchronousTestCase):
    def test_over_the_bound_is_a_failure(self) -> None:
        """``bench/bench_web_hostile.py`` ends with 1 where a device waited too long once, or saw a fault."""
        within, over = (Report(600, 0.3, p99_ms, 900.0, []) for p99_ms in (BOUND_MS, BOUND_MS + 0.1))
        faulty = Report(600, 0.3, 1.0, 2.0, ["3439333633355115004B003D: no answer"])
        runs = ([within, within], [over, within], [within, faulty])
        self.assertEqual([exit_status(reports) for reports in runs], [0, 1, 1])
