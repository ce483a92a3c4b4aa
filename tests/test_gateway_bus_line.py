"""``cmmd.gateway.bus.line``: what a line may be, and which times follow from it."""

from typing import Any

import msgspec
from twisted.trial.unittest import SynchronousTestCase

from cmmd.gateway.bus import Direction, Line
from cmmd.gateway.link.address import Address


class LineTests(SynchronousTestCase):
    def test_silence_by_baud_rate(self) -> None:
        """The table of the Modbus serial line specification, 2.5.1.1: 3.5 characters of 11 bits, above 19200 fixed."""
        for baud_rate, milliseconds in (
            (9600, 4.010),
            (19_200, 2.005),
            (38_400, 1.750),
            (115_200, 1.750),
            (1200, 32.083),
        ):
            self.assertAlmostEqual(Line("/dev/ttyS0", baud_rate).silence_s * 1000, milliseconds, places=3)
        self.assertEqual(Line("/dev/ttyS0", gap_s=0.02).silence_s, 0.02)
        self.assertAlmostEqual(Line("/dev/ttyS0", gap_s=0.001).silence_s, 0.00401, places=5)

    def test_how_late_an_answer_may_be(self) -> None:
        self.assertEqual(Line("/dev/ttyS0").late_s, 5.0)
        self.assertEqual(Line("/dev/ttyS0", quiet_s=8.0).late_s, 8.0)

    def test_seconds_for_a_frame(self) -> None:
        self.assertAlmostEqual(Line("/dev/ttyS0", 9600).seconds_for(95), 0.1089, places=4)
        self.assertAlmostEqual(Line("/dev/ttyS0", 115_200).seconds_for(8), 0.00076, places=5)

    def test_what_is_reached_over_a_network(self) -> None:
        for url, remote, address in (
            ("/dev/ttyUSB0", False, None),
            ("socket://ser.example:4001", True, Address("ser.example", 4001)),
            ("socket://192.0.2.7:4001/", True, Address("192.0.2.7", 4001)),
            ("socket://[2001:db8::7]:4001", True, Address("2001:db8::7", 4001)),
            ("rfc2217://192.0.2.7:4001", True, None),
            ("hwgrep://0403:6001", True, None),
        ):
            line = Line(url)
            self.assertEqual((line.remote, line.address), (remote, address))

    def test_what_is_refused(self) -> None:
        for settings, complaint in (
            ({"url": ""}, "url is empty"),
            ({"baud_rate": 0}, "baud_rate 0 is not within 300..4000000"),
            ({"timeout_s": 0.0}, "timeout_s 0.0 is not within 0.01..60.0"),
            ({"timeout_s": float("nan")}, "timeout_s nan is not within 0.01..60.0"),
            ({"retries": -1}, "retries -1 is not within 0..10"),
            ({"quiet_s": -0.1}, "quiet_s -0.1 is not within 0.0..60.0"),
            ({"gap_s": 11.0}, "gap_s 11.0 is not within 0.0..10.0"),
            ({"url": "socket://nowhere"}, "url socket://nowhere: not HOST:PORT"),
            ({"url": "socket://h:1?logging=debug"}, "url socket://h:1?logging=debug: not HOST:PORT"),
            (
                {"url": "rfc2217://h:1", "rs485": Direction()},
                "rs485 is set where the serial port is, not for rfc2217://h:1",
            ),
        ):
            values: dict[str, Any] = {"url": "/dev/ttyS0", **settings}
            error = self.assertRaises(ValueError, Line, **values)
            self.assertEqual(str(error), complaint)
        error = self.assertRaises(ValueError, Direction, delay_after_s=0.2)
        self.assertEqual(str(error), "delay_after_s 0.2 is not within 0.0..0.1")

    def test_as_configuration(self) -> None:
        """What is wrong in a file is answered with the path to it."""
        line = msgspec.convert({"url": "/dev/ttyS0", "parity": "E", "rs485": {"delay_before_s": 0.001}}, Line)
        self.assertEqual(line, Line("/dev/ttyS0", parity="E", rs485=Direction(delay_before_s=0.001)))
        for settings, path in (
            ({"data_bits": 7}, "$.data_bits"),
            ({"parity": "M"}, "$.parity"),
            ({"stop_bits": 1.5}, "$.stop_bits"),
            ({"rs485": {"rts": 1}}, "$.rs485"),
            ({"rs485": {"delay_before_s": 1.0}}, "delay_before_s 1.0 is not within 0.0..0.1 - at `$.rs485`"),
            ({"speed": 1}, "speed"),
        ):
            error = self.assertRaises(msgspec.ValidationError, msgspec.convert, {"url": "/dev/x", **settings}, Line)
            self.assertIn(path, str(error))
