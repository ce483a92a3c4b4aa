"""``cmmd.gateway.port_settings``: port and baud rate as the server orders them, or as configured."""

import os
from pathlib import Path

from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger, capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from cmmd.gateway import port_settings as module
from cmmd.gateway.bus import Line, NotSent
from cmmd.gateway.port_settings import PortSettings, Wires, wires_at_start

CONFIGURED = Wires(2, 0)
URLS = {2: "/dev/ttyUSB0", 3: "/dev/ttyS0"}

log = Logger()


class _Bus:
    """Remembers its lines, and cannot open some.

    :ivar missing: URLs that are not there.
    :ivar waits: what the next change waits for.
    """

    def __init__(self) -> None:
        self.lines: list[Line] = []
        self.missing: set[str] = set()
        self.waits: Deferred[None] | None = None

    async def rewire(self, line: Line) -> None:
        self.lines.append(line)
        if self.waits is not None:
            await self.waits
        if line.url in self.missing:
            raise NotSent(f"{line.url}: No such file or directory")


class WiringTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.file = Path(self.mktemp())
        self.bus = _Bus()
        self.wiring = self.started()

    def started(self, configured: Wires = CONFIGURED, urls: dict[int, str] = URLS) -> PortSettings:
        """As after a start on the same state."""
        return PortSettings(
            wires_at_start(self.file, configured, urls, log),
            configured=configured,
            file=self.file,
            bus=self.bus,
            there=urls,
            line_of=lambda wires: Line(url=urls[wires.module_port], baud_rate=module.BAUD_RATES[wires.module_baud]),
            log=log,
        )

    def codes(self, wiring: PortSettings | None = None) -> tuple[int, int | None]:
        wiring = wiring or self.wiring
        return wiring.module_port, wiring.module_baud

    def change(self, port: int | None, baud: int | None) -> bool:
        return self.successResultOf(Deferred.fromCoroutine(self.wiring.change(port, baud)))

    def wired(self) -> list[tuple[str, int]]:
        return [(line.url, line.baud_rate) for line in self.bus.lines]

    def test_names(self) -> None:
        for codes, name in (
            ((2, 1), "RS485 at 19200 bit/s"),
            ((4, None), "USB"),
            ((None, 2), "115200 bit/s"),
            ((0, 9), "modulePort 0? at moduleBaud 9?"),
            ((None, -1), "moduleBaud -1?"),
            ((None, 3), "moduleBaud 3?"),
        ):
            self.assertEqual(module.named(*codes), name)

    def test_speeds_without_a_code(self) -> None:
        """They can be configured, and nobody can order them; an order for another port keeps them."""
        for baud, speed in ((3, 2400), (4, 4800)):
            with self.subTest(speed=speed):
                slow = Wires(2, baud)
                self.assertEqual(str(slow), f"RS485 at {speed} bit/s")
                self.bus.lines.clear()
                self.wiring = self.started(slow)
                self.assertEqual(self.codes(), (2, None))
                self.assertFalse(self.change(None, baud))
                self.assertTrue(self.change(3, None))
                self.assertEqual(self.wired(), [("/dev/ttyS0", speed)])
                self.assertEqual(self.codes(self.started(slow)), (3, None))
                self.assertTrue(self.change(2, 0))
                self.assertEqual((self.codes(), self.wired()[-1]), ((2, 0), ("/dev/ttyUSB0", 9600)))
                self.assertEqual(self.codes(self.started()), (2, 0))  # another one is configured now

    def test_as_configured(self) -> None:
        self.assertEqual(self.codes(), (2, 0))
        self.assertEqual(self.bus.lines, [])

    def test_changes_reach_the_bus_and_stay(self) -> None:
        self.assertTrue(self.change(None, 2))
        self.assertEqual(self.codes(), (2, 2))
        self.assertTrue(self.change(3, None))
        self.assertTrue(self.change(3, 2))  # it is
        self.assertEqual(self.wired(), [("/dev/ttyUSB0", 115200), ("/dev/ttyS0", 115200)])
        self.assertEqual(self.codes(self.started()), (3, 2))

    def test_there_and_back(self) -> None:
        self.assertTrue(self.change(3, 1))
        self.assertTrue(self.change(2, 0))
        self.assertEqual(self.codes(self.started()), (2, 0))

    def test_a_change_that_waited_for_another(self) -> None:
        self.bus.waits = Deferred()
        first = Deferred.fromCoroutine(self.wiring.change(3, None))
        why = None
        second = Deferred.fromCoroutine(self.wiring.change(2, None, lambda: why))
        why = "it had waited for 10 s"
        self.bus.waits.callback(None)
        self.assertEqual((self.successResultOf(first), self.successResultOf(second)), (True, False))
        self.assertEqual(self.codes(), (3, 0))

    def test_ports_and_rates_that_are_not_there(self) -> None:
        for port, baud in ((0, 0), (1, 0), (4, None), (None, 3), (2, -1), (99, 99), (3, 9_999_999)):
            with capturedLogs() as captured:
                self.assertFalse(self.change(port, baud))
            self.assertIn("there is no such port here", captured[-1]["why"])
        self.assertEqual((self.codes(), self.wired(), self.file.exists()), ((2, 0), [], False))

    def test_port_that_cannot_be_opened(self) -> None:
        self.bus.missing = {"/dev/ttyS0"}
        self.assertFalse(self.change(3, 1))
        self.assertEqual(self.codes(), (2, 0))
        self.assertEqual(self.wired(), [("/dev/ttyS0", 19200), ("/dev/ttyUSB0", 9600)])
        self.assertEqual(self.codes(self.started()), (2, 0))

    def test_nothing_can_be_opened(self) -> None:
        self.bus.missing = set(URLS.values())
        self.assertFalse(self.change(3, 1))
        self.assertEqual((self.codes(), self.codes(self.started())), ((2, 0), (2, 0)))

    def test_what_cannot_be_kept_is_not_done(self) -> None:
        def full(_: int) -> None:
            raise OSError(28, "No space left on device")

        self.patch(os, "fsync", full)
        with capturedLogs() as captured:
            self.assertFalse(self.change(3, 1))
        self.assertIn("No space left on device", captured[-1]["why"])
        self.assertEqual((self.codes(), self.wired()), ((2, 0), []))

    def test_disk_that_gets_full_before_the_way_back(self) -> None:
        self.bus.missing = {"/dev/ttyS0"}
        self.bus.waits = Deferred()
        changing = Deferred.fromCoroutine(self.wiring.change(3, 1))

        def full(_: int) -> None:
            raise OSError(28, "No space left on device")

        self.patch(os, "fsync", full)
        waits, self.bus.waits = self.bus.waits, None
        waits.callback(None)
        self.assertFalse(self.successResultOf(changing))
        self.assertEqual(self.codes(), (2, 0))

    def test_session_that_ends_meanwhile(self) -> None:
        """What is told at the next login is what the bus tries, and what the next start begins with."""
        self.bus.waits = Deferred()
        changing = Deferred.fromCoroutine(self.wiring.change(3, 1))
        changing.cancel()
        self.failureResultOf(changing, CancelledError)
        self.assertEqual((self.codes(), self.codes(self.started())), ((3, 1), (3, 1)))
        self.assertEqual(self.wired(), [("/dev/ttyS0", 19200)])
        waits, self.bus.waits = self.bus.waits, None
        waits.callback(None)
        self.assertEqual((self.codes(), self.codes(self.started())), ((3, 1), (3, 1)))

    def test_session_that_ends_before_it_is_known_that_there_is_no_such_port(self) -> None:
        self.bus.missing = {"/dev/ttyS0"}
        waits: Deferred[None] = Deferred()
        self.bus.waits = waits
        changing = Deferred.fromCoroutine(self.wiring.change(3, 1))
        changing.cancel()
        self.failureResultOf(changing, CancelledError)
        self.bus.waits = None
        next_one = Deferred.fromCoroutine(self.wiring.change(None, 2))
        self.assertNoResult(next_one)
        waits.callback(None)
        self.assertTrue(self.successResultOf(next_one), "and begins with what is there")
        self.assertEqual(self.wired(), [("/dev/ttyS0", 19200), ("/dev/ttyUSB0", 9600), ("/dev/ttyUSB0", 115200)])
        self.assertEqual((self.codes(), self.codes(self.started())), ((2, 2), (2, 2)))

    def test_bug_in_the_bus_when_nobody_waits_is_logged(self) -> None:
        waits: Deferred[None] = Deferred()
        self.bus.waits = waits
        changing = Deferred.fromCoroutine(self.wiring.change(3, 1))
        changing.cancel()
        self.failureResultOf(changing, CancelledError)
        waits.errback(ZeroDivisionError())
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def assert_as_configured(self, configured: Wires = CONFIGURED, urls: dict[int, str] = URLS) -> None:
        with capturedLogs() as captured:
            self.assertEqual(
                self.codes(self.started(configured, urls)), (configured.module_port, configured.module_baud)
            )
        self.assertEqual(len(captured), 1)
        self.assertIn("as configured", captured[0]["log_format"])

    def test_changed_configuration_wins(self) -> None:
        self.assertTrue(self.change(3, 1))
        self.assert_as_configured(urls={2: "/dev/ttyUSB0"})
        self.assert_as_configured(Wires(2, 2))

    def test_file_that_makes_no_sense(self) -> None:
        for text in ("", "{}", "[", '{"ordered":{"module_port":2}}', "\0"):
            self.file.write_text(text)
            self.assert_as_configured()
        self.file.write_text(
            '{"ordered":{"module_port":2,"module_baud":-1},"configured":{"module_port":2,"module_baud":0}}'
        )
        self.assert_as_configured()
