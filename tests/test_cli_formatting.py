"""Values as people write and read them."""

import os
import time
from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET
from twisted.trial.unittest import SynchronousTestCase

from cmmd.cli.formatting import (
    BAUDS,
    KEYS,
    PORTS,
    changes,
    code_of,
    duration,
    moment,
    moment_text,
    plain,
    utc_text,
)
from cmmd.fleet.service.records import Changes, Settings

NOW = 1_700_872_746.5


class _InBerlin(SynchronousTestCase):
    """Local time is two hours ahead of UTC in summer, one in winter."""

    def setUp(self) -> None:
        before = os.environ.get("TZ")
        self.addCleanup(self._set, before)
        self._set("Europe/Berlin")

    @staticmethod
    def _set(zone: str | None) -> None:
        if zone is None:
            os.environ.pop("TZ", None)
        else:
            os.environ["TZ"] = zone
        time.tzset()


class MomentTests(_InBerlin):
    def test_written(self) -> None:
        for text, expected in (
            ("2023-11-25T00:39:06", datetime(2023, 11, 24, 23, 39, 6, tzinfo=UTC)),
            ("2023-11-25 00:39", datetime(2023, 11, 24, 23, 39, tzinfo=UTC)),
            ("2023-07-01", datetime(2023, 6, 30, 22, tzinfo=UTC)),
            ("2023-11-25T00:39:06Z", datetime(2023, 11, 25, 0, 39, 6, tzinfo=UTC)),
            ("2023-11-25T00:39:06+05:00", datetime(2023, 11, 24, 19, 39, 6, tzinfo=UTC)),
        ):
            self.assertEqual(moment(text, NOW), int(expected.timestamp() * 1000), text)

    def test_ago(self) -> None:
        for text, seconds in (("0s", 0), ("90s", 90), ("5m", 300), ("2h", 7200), ("7d", 604_800), ("1w", 604_800)):
            self.assertEqual(moment(text, NOW), int((NOW - seconds) * 1000), text)

    def test_milliseconds(self) -> None:
        self.assertEqual(moment("1700872746500", NOW), 1_700_872_746_500)

    def test_none(self) -> None:
        for text in ("", "yesterday", "2h ago", "-2h", "2023-13-01", "1.5h", "12345678901", "２h"):
            self.assertRaises(ValueError, moment, text, NOW)

    def test_shown(self) -> None:
        self.assertEqual(moment_text(1_700_872_746_500), "2023-11-25 01:39:06")
        self.assertEqual(moment_text(None), "-")
        self.assertEqual(utc_text(1_700_872_746_500), "2023-11-25T00:39:06.500Z")

    @given(st.integers(0, 4_102_444_800_000))
    def test_what_is_shown_in_utc_can_be_written(self, at: int) -> None:
        self.assertEqual(moment(utc_text(at), NOW), at)


class WordTests(SynchronousTestCase):
    def test_duration(self) -> None:
        for seconds, text in ((0, "0 s"), (59.9, "59 s"), (61, "1 min 1 s"), (7325, "2 h 2 min"), (90_061, "1 d 1 h")):
            self.assertEqual(duration(seconds), text)

    def test_wiring(self) -> None:
        for text, code in (("off", 0), ("link", 1), ("RS485", 2), ("rs232", 3), ("usb", 4), ("2", 2)):
            self.assertEqual(code_of(text, PORTS), code)
        for text, code in (("9600", 0), ("19200", 1), ("115200", 2), ("1", 1)):
            self.assertEqual(code_of(text, BAUDS), code)
        for text in ("5", "rs", "", "-1"):
            self.assertRaises(ValueError, code_of, text, PORTS)

    @given(st.text())
    def test_plain_is_what_a_terminal_shows(self, text: str) -> None:
        shown = plain(text)
        self.assertTrue(shown.isprintable())
        self.assertEqual(len(shown), len(text))

    def test_plain_leaves_what_is_printable(self) -> None:
        self.assertEqual(plain("機 [red]é"), "機 [red]é")
        self.assertEqual(plain("\x1b[2Ja\nb\u202e"), "\ufffd[2Ja\ufffdb\ufffd")


class SettingTests(SynchronousTestCase):
    def test_each(self) -> None:
        for pair, name, value in (
            ("enabled=false", "enabled", False),
            ("enabled=yes", "enabled", True),
            ("enabled=OFF", "enabled", False),
            ("enabled=1", "enabled", True),
            ("enabled=", "enabled", True),
            ("history=true", "history", True),
            ("history=no", "history", False),
            ("history=", "history", False),
            ("history-interval=30", "history_interval", 30.0),
            ("history_interval=0.5", "history_interval", 0.5),
            ("history-interval=", "history_interval", None),
            ("data-mode=0", "data_mode", 0),
            ("online-rate=1000", "online_rate", 1000),
            ("offline-rate=", "offline_rate", None),
            ("set-port=rs485", "set_port", 2),
            ("set-baud=115200", "set_baud", 2),
            ("set-baud=", "set_baud", None),
            ("profile=hgm6120n", "profile", "hgm6120n"),
            ("profile=a=b", "profile", "a=b"),
        ):
            changed = changes([pair])
            self.assertEqual(getattr(changed, name), value, pair)
            others = [getattr(changed, other) for other in Changes.__struct_fields__ if other != name]
            self.assertEqual(others, [UNSET] * len(others), pair)

    def test_every_setting_of_a_device_has_a_key(self) -> None:
        self.assertEqual({key.replace("-", "_") for key in KEYS}, set(Settings.__struct_fields__))

    def test_wrong(self) -> None:
        for pair, said in (
            ("colour=red", "enabled, history, history-interval"),
            ("enabled", "KEY=VALUE"),
            ("=1", "KEY=VALUE"),
            ("enabled=maybe", "enabled: Expected `bool`"),
            ("history-interval=soon", "history-interval: Expected `float"),
            ("history-interval=nan", "no number of seconds"),
            ("history-interval=inf", "no number of seconds"),
            ("data-mode=1.5", "data-mode: Expected `int"),
            ("set-port=9", "set-port: '9' is none of 0 (off)"),
        ):
            error = self.assertRaises(ValueError, changes, [pair])
            self.assertIn(said, str(error))
        self.assertRaises(ValueError, changes, ["data-mode=1", "data_mode=0"])
