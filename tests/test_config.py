"""The configuration: defaults, errors with the key, and etc/cmmd.toml."""

import re
import tomllib
from pathlib import Path

import msgspec
from twisted.trial.unittest import SynchronousTestCase

from cmmd.config import Config, ConfigError, load
from tests.support import REPOSITORY

DOCUMENTED = REPOSITORY / "etc" / "cmmd.toml"


class ConfigTests(SynchronousTestCase):
    def load(self, text: str | bytes) -> Config:
        path = Path(self.mktemp())
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return load(path)

    def refused(self, text: str | bytes) -> str:
        message = str(self.assertRaises(ConfigError, self.load, text))
        self.assertNotIn("\n", message)
        return message

    def test_no_file_is_all_defaults(self) -> None:
        self.assertEqual(load(None), Config())
        self.assertEqual(self.load(""), Config())

    def test_values(self) -> None:
        settings = self.load('[server]\nlive = ["tcp:1", "tcp:2"]\nidle_timeout = 60\n[enrolment]\npolicy = "known"\n')
        self.assertEqual(settings.server.live, ["tcp:1", "tcp:2"])
        self.assertEqual(settings.server.idle_timeout, 60.0)
        self.assertEqual(settings.enrolment.policy, "known")

    def test_wrong_values_are_named(self) -> None:
        for text, key in (
            ("[server]\nidle_timeout = 0", "server.idle_timeout: "),
            ('[server]\nidle_timeout = "1"', "server.idle_timeout: "),
            ("[server]\nlogin = []", "server.login: "),
            ("[server]\nlogin = [5]", "server.login[0]: "),
            ("[server]\nmax_frame = 10", "server.max_frame: "),
            ('[server]\nadvertise_live = "here"', "server.advertise_live: "),
            ('[server]\nadvertise_live = "here:0"', "server.advertise_live: "),
            ('[server]\nadvertise_live = "here:65536"', "server.advertise_live: "),
            ('[server]\nadvertise_live = "a;b:1"', "server.advertise_live: HOST:PORT expected"),
            ('[server]\nadvertise_live = "tcp:21318"', "server.advertise_live: HOST:PORT expected"),
            ('[server]\nadvertise_live = "here:1٣"', "server.advertise_live: "),
            ("[server]\nidle_timeout = 0.5", "server.idle_timeout: "),
            ('[enrolment]\npolicy = "closed"', "enrolment.policy: "),
            ("[upload]\ndata_mode = 2", "upload.data_mode: "),
            ("server = 5", "server: "),
        ):
            self.assertIn(f": {key}", self.refused(text), text)

    def test_unknown_keys_are_named(self) -> None:
        self.assertIn(": server.idle: unknown key", self.refused("[server]\nidle = 1"))
        self.assertIn(": servers: unknown key", self.refused("[servers]\nidle = 1"))
        self.assertIn(r": 'a\nb': unknown key", self.refused('"a\\nb" = 1'))

    def test_addresses(self) -> None:
        for address in ("", "cmm.example:21318", "192.0.2.1:1", "[2001:db8::1]:65535"):
            self.assertEqual(self.load(f'[server]\nadvertise_live = "{address}"').server.advertise_live, address)

    def test_not_toml(self) -> None:
        self.assertIn("not TOML", self.refused("[server"))
        self.assertIn("not TOML", self.refused(b"\xff\xfe"))
        self.assertIn("not TOML", self.refused("a = " + "[" * 100_000))
        self.assertIn("not TOML", self.refused("a = " + "1" * 10_000))

    def test_byte_order_mark(self) -> None:
        self.assertEqual(self.load(b"\xef\xbb\xbf[history]\ninterval = 5\n").history.interval, 5.0)

    def test_file_that_cannot_be_read(self) -> None:
        self.assertIn("No such file", str(self.assertRaises(ConfigError, load, Path(self.mktemp()))))

    def test_documented_file_is_the_defaults(self) -> None:
        self.assertEqual(load(DOCUMENTED), Config())

    def test_documented_file_names_every_option_with_a_comment(self) -> None:
        documented = tomllib.loads(DOCUMENTED.read_text(encoding="utf-8"))
        self.assertEqual(documented, msgspec.to_builtins(Config()))
        lines = DOCUMENTED.read_text(encoding="utf-8").splitlines()
        for number, line in enumerate(lines):
            if re.match(r"[a-z_]+ = ", line):
                self.assertTrue(lines[number - 1].startswith("#") or "  #" in line, f"{line!r} has no comment")
