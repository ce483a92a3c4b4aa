"""``twistd -n cmm-gateway``: options, what is wired up, and a real process that begins and ends in order."""

import json
import shutil
import signal
import socket
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from twisted.internet import reactor as _reactor
from twisted.internet.task import deferLater
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase, TestCase

from cmmd.config import ConfigError
from cmmd.gateway.settings import Buffer, Controllers, Device, Input, Inputs, Serial, Server, Settings, Status
from cmmd.gateway.tap import Gateway, Options
from cmmd.process import StartFailed, lock_state
from tests.gateway_process import GatewayProcess
from tests.support import free_port

reactor: Any = _reactor

HOSTID = "3439333633355115004B003D"


def settings(**tables: Any) -> Settings:
    """A configuration that can be used: nobody listens at the server, and there is no adapter."""
    usual = {
        "device": Device(hostid=HOSTID, password="123456"),
        "server": Server(login=f"127.0.0.1:{free_port()}"),
        "serial": Serial(rs485="/dev/no-such-adapter"),
    }
    return Settings(**{**usual, **tables})


class OptionsTests(SynchronousTestCase):
    def file(self, text: str = "") -> str:
        path = Path(self.mktemp())
        path.write_text(text)
        return str(path)

    def test_config_and_state(self) -> None:
        options = Options()
        options.parseOptions(["--config", self.file("[controller]\nunit = 5\n")])
        self.assertEqual(options.settings.controller.unit, 5)
        self.assertEqual(options.state, Path("var/gateway").absolute())
        options.parseOptions(["--config", self.file(), "--state", "/nowhere"])
        self.assertEqual(options.state, Path("/nowhere"))

    def test_what_is_wrong_ends_the_process(self) -> None:
        for arguments, said in (
            ([], "--config FILE is required"),
            (["--config", self.file("[server]\nlogon = 5\n")], "server.logon: unknown key"),
            (["--config", self.file() + "x"], "No such file"),
            (["--config", self.file(), "--colour"], "--colour"),
            (["--config", self.file(), "something"], "'something' is not an option"),
        ):
            error = self.assertRaises(SystemExit, Options().parseOptions, arguments)
            self.assertTrue(str(error).startswith("cmm-gateway: "), error)
            self.assertIn(said, str(error))
            self.assertNotIn("\n", str(error))

    def test_version(self) -> None:
        self.assertEqual(self.assertRaises(SystemExit, Options().parseOptions, ["--version"]).code, 0)


class GatewayTests(TestCase):
    timeout = 180

    def setUp(self) -> None:
        self.state = Path(self.mktemp()).absolute()

    def gateway(self, configured: Settings, *, foreground: bool = True) -> Gateway:
        return Gateway(configured, self.state, reactor, foreground=foreground)

    def status(self, name: str = "status.json") -> Any:
        return json.loads((self.state / name).read_text())

    async def run_for(self, gateway: Gateway, seconds: float = 0.0) -> list[str]:
        """Start and stop it; what it said."""
        with capturedLogs() as captured:
            gateway.startService()
            await deferLater(reactor, seconds)
            await gateway.stopService()
        return [formatEvent(event) or "" for event in captured]

    def test_each_value_that_cannot_be_used_is_named(self) -> None:
        for key, tables in (
            ("server.login: ", {"server": Server()}),
            ("serial.rs485: ", {"serial": Serial()}),
            ("inputs.door.source: ", {"inputs": Inputs(door=Input(source="x"))}),
            ("device.password: ", {"device": Device()}),
            ("device.longitude: ", {"device": Device(password="1", longitude="x", latitude="y")}),
            ("device.hostid: ", {"device": Device(password="1", hostid="a b")}),
        ):
            error = self.assertRaises(ConfigError, self.gateway, settings(**tables))
            self.assertTrue(str(error).startswith(key), error)
        self.assertFalse(self.state.exists())

    async def test_profiles_of_the_users_own(self) -> None:
        """Relative to the state directory, as cmmd has it."""
        own = settings(controllers=Controllers(path="own"))
        self.assertIn("controllers.path: ", str(self.assertRaises(ConfigError, self.gateway, own)))
        (self.state / "own").mkdir(parents=True)
        profile = self.state / "own" / "acme.toml"
        profile.write_text('title = "Acme"\nmodels = ["HGM6120N"]\nchange_byte_order = "large"\n')
        self.assertIn("acme.toml", str(self.assertRaises(ConfigError, self.gateway, own)))
        polls = "polls = [{unit = 1, function = 3, address = 0, count = 4}]\n"
        profile.write_text(f'title = "Acme"\nmodels = ["HGM6120N"]\nchange_byte_order = "big"\n{polls}')
        gateway = self.gateway(own)
        await self.run_for(gateway)
        self.assertEqual(gateway._catalog.for_moduletype("HGM6120N").name, "acme")

    async def test_first_and_last_line(self) -> None:
        said = await self.run_for(self.gateway(settings()))
        self.assertIn(f"{HOSTID} (", said[0])
        self.assertIn("on RS485 at 9600 bit/s, /dev/no-such-adapter, reports to 127.0.0.1:", said[0])
        self.assertIn("without TLS", said[0])
        self.assertEqual(said[-1], "cmm-gateway has stopped")
        self.assertNotIn("123456", "".join(said))

    async def test_what_is_in_the_state_directory(self) -> None:
        await self.run_for(self.gateway(settings()))
        files = {path.name for path in self.state.iterdir()}
        self.assertEqual(files, {"buffer.sqlite", "cmmd.lock", "status.json"})
        derived = settings(device=Device(password="123456"))
        await self.run_for(self.gateway(derived))
        first = (self.state / "hostid").read_text().strip()
        self.assertEqual(self.status()["hostid"], first)
        await self.run_for(self.gateway(derived))
        self.assertEqual(self.status()["hostid"], first)

    async def test_without_buffer_and_status(self) -> None:
        await self.run_for(self.gateway(settings(buffer=Buffer(size=0), status=Status(file=""))))
        self.assertEqual([path.name for path in self.state.iterdir()], ["cmmd.lock"])
        await self.run_for(self.gateway(settings(buffer=Buffer(size=0))))
        self.assertIsNone(self.status()["buffer"])

    async def test_status_of_one_that_reaches_nobody(self) -> None:
        configured = settings(inputs=Inputs(door=Input(source=f"file:{self.state}/door")))
        await self.run_for(self.gateway(configured), 0.2)
        status = self.status()
        self.assertEqual((status["running"], status["hostid"]), (False, HOSTID))
        self.assertEqual((status["server"]["online"], status["server"]["logins"]), (False, 0))
        self.assertGreaterEqual(status["server"]["failures"], 1)
        controller = status["controller"]
        self.assertEqual((controller["module_port"], controller["module_baud"]), (2, 0))
        self.assertEqual((controller["open"], controller["answers"]), (False, None))
        self.assertEqual(controller["bus"]["requests"], 0)
        self.assertEqual((status["buffer"]["waiting"], status["inputs"]), (0, {"door": None}))
        self.assertNotIn("123456", json.dumps(status))

    async def test_line_of_one_that_reaches_nobody(self) -> None:
        for buffer, kept in ((Buffer(), "; 0 uploads wait in the buffer, 0 were sent from it"), (Buffer(size=0), "")):
            gateway = self.gateway(settings(buffer=buffer))
            gateway.startService()
            said = gateway._status._sum_up()
            await gateway.stopService()
            self.assertEqual(
                said,
                "OFFLINE; the controller DOES NOT ANSWER; in 0.0 h 0 uploads, 0 orders, 0 logins;"
                f" 0 polls with 0 requests unanswered{kept}",
            )

    async def test_only_one_of_a_state_directory(self) -> None:
        held = lock_state(self.state)
        error = self.assertRaises(SystemExit, self.gateway(settings()).startService)
        self.assertIn("is in use by process", str(error))
        self.assertRaises(StartFailed, self.gateway(settings(), foreground=False).startService)
        held.close()
        await self.run_for(self.gateway(settings()))

    async def test_hostid_that_cannot_be_read(self) -> None:
        self.state.mkdir()
        (self.state / "hostid").write_text("rubbish")
        gateway = self.gateway(settings(device=Device(password="123456")))
        self.assertIn("no hostid", str(self.assertRaises(SystemExit, gateway.startService)))
        await gateway.stopService()
        lock_state(self.state).close()

    async def test_two_in_one_process(self) -> None:
        first, other = self.gateway(settings()), Gateway(settings(), self.state.with_name("other"), reactor)
        first.startService()
        other.startService()
        await first.stopService()
        await other.stopService()


class ProcessTests(SynchronousTestCase):
    """The command itself."""

    def setUp(self) -> None:
        self.folder = Path(mkdtemp(prefix="cmm-gateway-"))
        self.addCleanup(shutil.rmtree, self.folder)

    def gateway(self, **sections: Any) -> GatewayProcess:
        usual = {"server": {"login": f"127.0.0.1:{free_port()}"}, "serial": {"rs485": str(self.folder / "tty")}}
        gateway = GatewayProcess(self.folder, {**usual, **sections})
        self.addCleanup(gateway.kill)
        return gateway

    def test_wrong_configurations(self) -> None:
        """One line that names the key, exit status 1, and nothing opened."""
        with socket.create_server(("127.0.0.1", 0)) as listener:
            listener.settimeout(0)
            login = f"127.0.0.1:{listener.getsockname()[1]}"
            for sections, key in (
                ({"server": {"login": login, "logon": 1}}, "server.logon: unknown key"),
                ({"server": {"login": login}, "serial": {"rs485": "x", "baud_rate": 300}}, "serial.baud_rate: "),
                ({"server": {"login": login}, "serial": {}}, "serial.rs485: "),
                ({"server": {"login": login, "heartbeat": "60"}}, "server.heartbeat: "),
            ):
                gateway = self.gateway(**sections)
                self.assertEqual(gateway.start().ended(), 1)
                (line,) = gateway.log.splitlines()
                self.assertIn(f"cmm-gateway: {gateway.config}: {key}", line)
                (self.folder / "output").unlink()
                self.assertFalse(gateway.state.exists())
            self.assertRaises(BlockingIOError, listener.accept)

    def test_orderly_end(self) -> None:
        gateway = self.gateway()
        for times, number in enumerate((signal.SIGTERM, signal.SIGINT), 1):
            gateway.start()
            gateway.says("next attempt", times)
            self.assertEqual(gateway.terminate(number), 0)
        self.assertEqual(gateway.log.count("cmm-gateway has stopped"), 2)
        self.assertNotIn("Traceback", gateway.log)
        self.assertIs(gateway.status["running"], False)
        self.assertFalse((self.folder / "twistd.pid").exists())
