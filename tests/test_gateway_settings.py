"""``cmmd.gateway.settings``: defaults, errors with the key, and etc/gateway.toml."""

import re
import tomllib
from pathlib import Path

import msgspec
from twisted.trial.unittest import SynchronousTestCase

from cmmd.config import ConfigError, read
from cmmd.gateway.settings import Settings
from tests.support import REPOSITORY

DOCUMENTED = REPOSITORY / "etc" / "gateway.toml"


class SettingsTests(SynchronousTestCase):
    def read(self, text: str) -> Settings:
        path = Path(self.mktemp())
        path.write_text(text)
        return read(path, Settings)

    def test_values(self) -> None:
        settings = self.read(
            '[server]\nlogin = "a:1"\ndata_mode = 0\n[server.tls]\nenabled = true\n[serial]\nrs485 = "/dev/ttyUSB0"\n'
            '[inputs.door]\nsource = "file:/x"\nactive_low = true\n'
        )
        self.assertEqual((settings.server.login, settings.server.data_mode), ("a:1", 0))
        self.assertIs(settings.server.tls.enabled, True)
        self.assertEqual((settings.serial.rs485, settings.serial.baud_rate), ("/dev/ttyUSB0", 9600))
        self.assertIs(settings.inputs.door.active_low, True)

    def test_wrong_values_and_unknown_keys_are_named(self) -> None:
        for text, named in (
            ('[device]\nhostid = "' + "x" * 25 + '"', "device.hostid: "),
            ('[device]\nhostname = "' + "x" * 21 + '"', "device.hostname: "),
            ('[device]\npassword = "' + "x" * 21 + '"', "device.password: "),
            ('[device]\nmoduletype = ""', "device.moduletype: "),
            ("[device]\nlongitude = 113.6", "device.longitude: "),
            ("[device]\ngpsen = 2", "device.gpsen: "),
            ('[server]\ntype = "vendor"', "server.type: "),
            ("[server]\ndata_mode = 2", "server.data_mode: "),
            ("[server]\nheartbeat = 0", "server.heartbeat: "),
            ('[server.tls]\nenabled = "yes"', "server.tls.enabled: "),
            ("[serial]\nbaud_rate = 1200", "serial.baud_rate: "),
            ('[serial]\nuse = "rs422"', "serial.use: "),
            ("[serial]\ntimeout = 0.001", "serial.timeout: "),
            ("[serial]\necho = 1", "serial.echo: "),
            ('[serial.direction]\nby = "me"', "serial.direction.by: "),
            ("[controller]\nunit = 0", "controller.unit: "),
            ("[controller]\nunit = 248", "controller.unit: "),
            ("[buffer]\nsize = -1", "buffer.size: "),
            ('[inputs.fire]\nbias = "up"', "inputs.fire.bias: "),
            ("[inputs.window]\nx = 1", "inputs.window: unknown key"),
            ("[serial]\nport = 1", "serial.port: unknown key"),
            ("[serials]\nport = 1", "serials: unknown key"),
        ):
            message = str(self.assertRaises(ConfigError, self.read, text))
            self.assertIn(f": {named}", message)
            self.assertNotIn("\n", message)

    def test_documented_file_is_the_defaults(self) -> None:
        self.assertEqual(read(DOCUMENTED, Settings), Settings())

    def test_documented_file_names_every_option_with_a_comment(self) -> None:
        text = DOCUMENTED.read_text(encoding="utf-8")
        self.assertEqual(tomllib.loads(text), msgspec.to_builtins(Settings()))
        lines = text.splitlines()
        for number, line in enumerate(lines):
            if re.match(r"[a-z0-9_]+ = ", line):
                self.assertTrue(lines[number - 1].startswith("#"), f"{line!r} has no comment")
