"""``twistd -n cmmd`` as its users meet it: a real process, real sockets, real signals.

Every wait in here has its own limit, for trial's ``timeout`` cannot end what blocks.
"""

import atexit
import contextlib
import json
import os
import resource
import shutil
import signal
import socket
import sqlite3
import time
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from twisted.internet import reactor as _reactor
from twisted.internet.task import deferLater
from twisted.trial.unittest import SynchronousTestCase, TestCase

from cmmd import process, tap
from cmmd.process import lock_state
from tests.child import Child
from tests.daemon import DEADLINE_S, Daemon, Sections, endpoint, environment, service_port, twistd_words
from tests.plain_device import PlainDevice, login, message, register

reactor: Any = _reactor

HOSTID = "3439333633355115004B003D"
OTHER = "AAAAAAAAAAAAAAAAAAAAAAAA"
PLAN = "01010000005ABC31;01030000002D85D7;0103002E000AA5C4"
FULL_UPLOAD = "010300020001B9F4;01010108504E"

LONGCON_OK = b'{"method":"LongCon","message":"OK","retcode":"000000"}'
HB_OK = b'{"method":"HB","message":"OK","retcode":"000000"}'
UPLOAD_OK = b'{"method":"reqdata","message":"OK","retcode":"000000"}'
REFUSED = {
    "register": 0,
    "historic": "",
    "liveData": "",
    "para_command": "",
    "con_command": "",
    "online_rate": 3000,
    "offline_rate": 3000,
    "moduletype": "",
    "data_mode": 1,
}
"""The result of a login that was not taken, but for the time."""


def without_time(answer: dict[str, Any]) -> dict[str, Any]:
    """A login answer without its ``realTime``, which has to be now."""
    assert abs(int(answer["result"].pop("realTime")) - time.time()) < 60
    return answer


class Folders(SynchronousTestCase):
    """Directories that go away and daemons that end, whatever happens."""

    def folder(self) -> Path:
        folder = Path(mkdtemp(prefix="cmmd-surface-"))
        self.addCleanup(shutil.rmtree, folder)
        return folder

    def prepared(self, sections: Sections | None = None) -> Daemon:
        daemon = Daemon(self.folder(), sections)
        self.addCleanup(daemon.kill)
        return daemon

    def daemon(self, **server: object) -> Daemon:
        return self.prepared({"server": server}).start()


@cache
def _everything_by_default() -> Daemon:
    """One daemon for all tests that leave it as it was; ``HOSTID`` is registered."""
    folder = Path(mkdtemp(prefix="cmmd-surface-"))
    atexit.register(shutil.rmtree, folder)
    daemon = Daemon(folder)
    atexit.register(daemon.kill)
    register(daemon.start().port, HOSTID)
    return daemon


class _OneDaemon(SynchronousTestCase):
    """Tests that one daemon serves, one after the other."""

    def setUp(self) -> None:
        self._daemon = _everything_by_default()
        self.port = self._daemon.port

    def tearDown(self) -> None:
        self.assertTrue(self._daemon.alive, self._daemon.log)
        self.assertNotIn("Traceback", self._daemon.log)

    def connect(self) -> PlainDevice:
        device = PlainDevice(self.port)
        self.addCleanup(device.socket.close)
        return device

    def attached(self, hostid: str = HOSTID) -> PlainDevice:
        device = self.connect()
        device.send(message("LongCon", hostid))
        self.assertEqual(device.receive(), LONGCON_OK)
        return device

    def assert_closed(self, device: PlainDevice) -> None:
        self.assertEqual(device.rest(), b"")


class LoginTests(_OneDaemon):
    """The short connection (protocol section 4.1)."""

    def test_answer_and_close(self) -> None:
        device = self.connect()
        before = int(time.time())
        device.send(login("LOGIN1", modulePort=2, moduleBaud=1))
        answer = device.receive()
        after = int(time.time())
        self.assert_closed(device)
        now = int(json.loads(answer)["result"]["realTime"])
        self.assertTrue(before <= now <= after, f"{before} <= {now} <= {after}")
        here = f"127.0.0.1:{self.port}"
        self.assertEqual(
            answer.decode(),
            f'{{"method":"login","result":{{"register":1,"historic":"{here}","liveData":"{here}","realTime":"{now}",'
            f'"para_command":"{PLAN}","con_command":"{PLAN}","online_rate":3000,"offline_rate":3000,'
            '"moduletype":"HGM6120N","data_mode":1,"modulePort":2,"moduleBaud":1},"retcode":"000000"}',
        )

    def test_tolerated_spellings(self) -> None:
        fields = '"hostname":"G","password":"1","moduletype":"HGM6120N"'
        spellings = {
            "hostid in another letter case": '{"method":"login","params":{"Hostid":"SPELT1",%s}}',
            "the example's misspelling": '{"method":"login","params":{"hosted":"SPELT2","gsen":0,%s}}',
            "hostid at the top": '{"method":"login","hostid":"SPELT3","params":{%s}}',
            "all keys in capitals": '{"METHOD":"login","PARAMS":{"HOSTID":"SPELT4","HOSTNAME":"G","PASSWORD":"1",'
            '"MODULETYPE":"HGM6120N"}}',
            "numbers in text": '{"method":"login","params":{"hostid":"SPELT5","modulePort":"2","moduleBaud":"0",%s}}',
            "text in numbers": '{"method":"login","params":{"hostid":1234567890,"hostname":7,"password":123456,'
            '"longitude":116.4,"moduletype":6120}}',
            "unknown keys": '{"method":"login","x":[{}],"params":{"hostid":"SPELT6","y":{"z":1},%s}}',
            "a missing comma": '{"method":"login" "params":{"hostid":"SPELT7" %s}}',
            "trailing commas": '{"method":"login","params":{"hostid":"SPELT8",%s,},}',
            "white space around": ' \r\n\t\0{ "method" : "login",\n"params":{"hostid":"SPELT9",%s}}\r\n\0',
        }
        for what, text in spellings.items():
            device = self.connect()
            device.send((text % fields if "%s" in text else text).encode())
            answer = json.loads(device.rest())
            self.assertEqual((answer["retcode"], answer["result"]["register"]), ("000000", 1), what)

    def test_params_as_a_string_that_holds_an_object(self) -> None:
        params = json.dumps({"hostid": "STRING1", "hostname": "机", "password": "1", "moduletype": "HGM6120N"})
        device = self.connect()
        device.send(json.dumps({"method": "login", "params": params}).encode())
        self.assertEqual(json.loads(device.rest())["retcode"], "000000")

    def test_name_in_gb18030(self) -> None:
        device = self.connect()
        device.send(login("GB1", hostname="NAME").replace(b"NAME", "發電機".encode("gb18030")))
        self.assertEqual(json.loads(device.rest())["retcode"], "000000")

    def test_a_wrong_field_is_named(self) -> None:
        device = self.connect()
        device.send(login("LONG1", "x" * 21))
        answer = without_time(json.loads(device.rest()))
        self.assertEqual((answer["retcode"], answer["result"]), ("000001", REFUSED))
        self.assertIn("password", answer["message"])

    def test_on_a_long_connection(self) -> None:
        device = self.attached()
        answer = device.ask(login(HOSTID))
        self.assertEqual((answer["retcode"], answer["result"]["register"]), ("000000", 1))
        device.send(message("HB", HOSTID, params=""))
        self.assertEqual(device.receive(), HB_OK)

    def test_wrong_password(self) -> None:
        register(self.port, "PASSWORD1", "right", hostname="before")
        kept = self.kept("PASSWORD1")
        answer = register(self.port, "PASSWORD1", "wrong", hostname="after")
        self.assertEqual(without_time(answer), {"method": "login", "result": REFUSED, "retcode": "000004"})
        self.assertEqual(self.kept("PASSWORD1"), kept)
        self.assertEqual(register(self.port, "PASSWORD1", "right")["retcode"], "000000")

    def kept(self, hostid: str) -> tuple[Any, ...]:
        with contextlib.closing(sqlite3.connect(self._daemon.state / "cmmd.sqlite")) as database:
            row: tuple[Any, ...] = database.execute("SELECT * FROM device WHERE hostid = ?", [hostid]).fetchone()
            return row


class SessionTests(_OneDaemon):
    """The long connection (protocol sections 4.2 to 4.8 and 5)."""

    def assert_answers(self, device: PlainDevice, sent: bytes, answer: bytes) -> None:
        device.send(sent)
        self.assertEqual(device.receive(), answer)

    def test_heartbeat(self) -> None:
        device = self.attached()
        for params in ("", None):
            self.assert_answers(device, message("HB", HOSTID, params=params), HB_OK)

    def test_full_upload(self) -> None:
        device = self.attached()
        for params in ("", FULL_UPLOAD, FULL_UPLOAD + ";", f"; {FULL_UPLOAD} ; ;"):
            self.assert_answers(device, message("reqdata", HOSTID, params=params), UPLOAD_OK)

    def test_change_upload(self) -> None:
        device = self.attached()
        changes = {"packetnum": 12, "03": [{"0000": "EF00"}, {"0006": "8813"}], "01": [{"0000": "08"}]}
        inputs = {"AccessAlarm": 0, "FireAlarm": 0, "AlarmInput": 0, "InhbitRemote": 0}
        self.assert_answers(device, message("reqdatachange", HOSTID, params=changes, **inputs), UPLOAD_OK)
        self.assert_answers(device, message("reqdatachange", HOSTID, params={}), UPLOAD_OK)

    def test_timing(self) -> None:
        device = self.attached()
        before = int(time.time() * 1000)
        device.send(message("timing", HOSTID))
        answer = device.receive()
        now = int(json.loads(answer)["result"])
        self.assertTrue(before <= now <= time.time() * 1000, now)
        expected = f'{{"message":"ok","retcode":"000000","method":"timing","result":"{now}"}}'
        self.assertEqual(answer.decode(), expected)

    def test_each_answer_is_a_segment_of_its_own(self) -> None:
        device = self.attached()
        for count in (1, 2, 10):
            before = device.data_segments
            device.send(message("HB", HOSTID, params="") * count)
            self.assertEqual([device.receive() for _ in range(count)], [HB_OK] * count)
            self.assertGreaterEqual(device.data_segments - before, count)

    def test_ten_different_messages_in_one_segment(self) -> None:
        device = self.connect()
        upload = message("reqdata", HOSTID, params=FULL_UPLOAD)
        heartbeat = message("HB", HOSTID, params=None)
        device.send(message("LongCon", HOSTID), *[upload, heartbeat] * 4, upload)
        self.assertEqual([device.receive() for _ in range(10)], [LONGCON_OK, *[UPLOAD_OK, HB_OK] * 4, UPLOAD_OK])

    def test_unknown_device(self) -> None:
        for method in ("LongCon", "HB", "reqdata", "timing"):
            device = self.connect()
            answer = device.ask(message(method, "NOBODY"))
            self.assertEqual((answer["method"], answer["retcode"]), (method, "000003"))
            if method == "LongCon":
                self.assert_closed(device)

    def test_any_first_message_attaches(self) -> None:
        for sent, answer in (
            (message("HB", HOSTID, params=""), HB_OK),
            (message("reqdata", HOSTID, params=""), UPLOAD_OK),
            (message("reqdatachange", HOSTID, params={}), UPLOAD_OK),
        ):
            device = self.connect()
            self.assert_answers(device, sent, answer)
            self.assertEqual(device.ask(message("HB", OTHER))["retcode"], "000003")
            self.assert_answers(device, message("HB", HOSTID), HB_OK)

    def test_foreign_hostid(self) -> None:
        register(self.port, OTHER)
        device = self.attached()
        for sent, method in (
            (message("LongCon", OTHER), "LongCon"),
            (message("HB", OTHER), "HB"),
            (message("reqdata", OTHER, params=""), "reqdata"),
            (message("reqdatachange", OTHER, params={}), "reqdata"),
            (message("timing", OTHER), "timing"),
        ):
            answer = device.ask(sent)
            self.assertEqual((answer["method"], answer["retcode"]), (method, "000003"))
        self.assertEqual(device.ask(login(OTHER))["retcode"], "000003")
        self.assert_answers(device, message("HB", HOSTID), HB_OK)

    def test_unknown_method(self) -> None:
        device = self.attached()
        answer = device.ask(message("selfdestruct", HOSTID))
        self.assertEqual(answer, {"method": "error", "message": "unknown method", "retcode": "000002"})
        self.assert_answers(device, message("HB", HOSTID), HB_OK)

    def test_three_frame_errors(self) -> None:
        device = self.attached()
        for _ in range(2):
            answer = device.ask(b"garbage")
            self.assertEqual((answer["method"], answer["retcode"]), ("error", "000001"))
            self.assert_answers(device, message("HB", HOSTID), HB_OK)
        self.assertEqual(device.ask(b"garbage")["retcode"], "000001")
        self.assert_closed(device)


class ConfiguredTests(Folders):
    """What the configuration changes."""

    def test_ports_by_role(self) -> None:
        ports = {role: service_port() for role in ("login", "live", "historic")}
        daemon = self.prepared({"server": {role: [endpoint(port)] for role, port in ports.items()}})
        daemon.start(list(ports.values()))
        for port in ports.values():  # any message may come in at any port
            result = register(port, HOSTID)["result"]
            self.assertEqual(result["liveData"], f"127.0.0.1:{ports['live']}")
            self.assertEqual(result["historic"], f"127.0.0.1:{ports['historic']}")
            with PlainDevice(port) as device:
                self.assertEqual(device.ask(message("LongCon", HOSTID))["retcode"], "000000")

    def test_what_devices_are_told(self) -> None:
        addresses = {"advertise_live": "cmm.example.com:21319", "advertise_historic": "[2001:db8::7]:21320"}
        terms = {"data_mode": 0, "online_rate": 1000, "offline_rate": 60000, "reset_packet_num": 1500}
        result = register(self.prepared({"server": addresses, "upload": terms}).start().port, HOSTID)["result"]
        self.assertEqual(result["liveData"], "cmm.example.com:21319")
        self.assertEqual(result["historic"], "[2001:db8::7]:21320")
        self.assertEqual({key: result[key] for key in terms}, terms)
        self.assertEqual(list(result)[-1], "reset_packet_num")


class EndTests(Folders):
    """What is left after the process has ended, one way or the other."""

    kills = 2
    devices = 5
    longest_end_s = DEADLINE_S

    def test_killed_right_after_the_login_answer(self) -> None:
        daemon = self.daemon()
        for number in range(1, self.kills + 1):
            hostid = f"KILLED{number}"
            with PlainDevice(daemon.port) as device:
                device.send(login(hostid))
                self.assertIn(b'"register":1', device.receive())
                daemon.kill()
            daemon.start()
            with PlainDevice(daemon.port) as device:
                self.assertEqual(device.ask(message("LongCon", hostid))["retcode"], "000000")
            self.assertEqual(register(daemon.port, hostid, "wrong")["retcode"], "000004")
        for number in range(1, self.kills + 1):
            # Another address: the first one has to wait for its next attempt.
            with PlainDevice(daemon.port, "127.0.0.2") as device:
                self.assertEqual(device.ask(login(f"KILLED{number}"))["retcode"], "000000")
        with contextlib.closing(sqlite3.connect(daemon.state / "cmmd.sqlite")) as database:
            rows = database.execute("SELECT number, hostid FROM device ORDER BY number").fetchall()
        self.assertEqual(rows, [(number, f"KILLED{number}") for number in range(1, self.kills + 1)])

    def test_sigterm(self) -> None:
        self.assert_orderly_end(signal.SIGTERM)

    def assert_orderly_end(self, number: signal.Signals) -> None:
        daemon = self.daemon()
        devices = []
        for hostid in (f"ORDERLY{count}" for count in range(self.devices)):
            register(daemon.port, hostid)
            for _ in range(4):
                device = PlainDevice(daemon.port)
                self.addCleanup(device.socket.close)
                self.assertEqual(device.ask(message("LongCon", hostid))["retcode"], "000000")
                devices.append(device)
        started = time.monotonic()
        status = daemon.terminate(number)
        seconds = time.monotonic() - started
        self.assertEqual(status, 0, daemon.log)
        self.assertLess(seconds, self.longest_end_s)
        for device in devices:
            self.assertEqual(device.rest(), b"")  # a reset would raise
        self.assertNotIn("Traceback", daemon.log)

    def test_sigterm_right_after_the_start(self) -> None:
        daemon = self.daemon()
        register(daemon.port, HOSTID)
        self.assertEqual(daemon.terminate(), 0, daemon.log)
        daemon.start()
        with PlainDevice(daemon.port) as device:
            self.assertEqual(device.ask(message("LongCon", HOSTID))["retcode"], "000000")


class FullDiskTests(Folders):
    """The store cannot write."""

    def test_new_devices_have_to_wait(self) -> None:
        daemon = self.daemon()
        register(daemon.port, HOSTID)
        unlimited = resource.prlimit(daemon.pid, resource.RLIMIT_FSIZE)
        room = 2 * 4096  # bytes: a device takes more pages than two, in a WAL that begins anew
        self.assertGreater(room, 2 * len(daemon.log))  # there is room for what it says
        resource.prlimit(daemon.pid, resource.RLIMIT_FSIZE, (room, unlimited[1]))
        answer = register(daemon.port, "NEW1")
        self.assertEqual(without_time(answer), {"method": "login", "result": REFUSED, "retcode": "000006"})
        with PlainDevice(daemon.port) as device:
            self.assertEqual(device.ask(message("LongCon", "NEW1"))["retcode"], "000003")
        with PlainDevice(daemon.port) as device:
            for sent in (message("LongCon", HOSTID), message("HB", HOSTID), message("reqdata", HOSTID, params="")):
                self.assertEqual(device.ask(sent)["retcode"], "000000")
        self.assertEqual(register(daemon.port, HOSTID)["retcode"], "000000")  # it is known, and says nothing new
        resource.prlimit(daemon.pid, resource.RLIMIT_FSIZE, unlimited)
        self.assertEqual(register(daemon.port, "NEW1")["retcode"], "000000")
        self.assertNotIn("Traceback", daemon.log)
        self.assertEqual(daemon.terminate(), 0)


class WrongDaemon(Child):
    """A daemon that is to end by itself."""

    def __init__(self, folder: Path, *options: str | Path) -> None:
        super().__init__(folder / "wrong")
        self._launch(twistd_words("cmmd", *options), cwd=folder, env=environment())


class WrongProcessTests(Folders):
    """A process that cannot work, as an operator sees it."""

    def test_unknown_key(self) -> None:
        folder = self.folder()
        config = folder / "cmmd.toml"
        config.write_text("[server]\nidle_timeuot = 1.0\n", encoding="utf-8")
        process = WrongDaemon(folder, "--config", config)
        self.addCleanup(process.kill)
        self.assertEqual(process.ended(), 1, process.log)
        self.assertRegex(process.log, r"\Acmmd: [^\n]+\n\Z")
        self.assertFalse((folder / "var").exists(), "the state directory was made")


class WrongTests(Folders, TestCase):
    """What cannot work ends at once: one line that says what, exit status 1, nothing listening.

    In this process; tests_slow has the same with a daemon's process for each.
    """

    def setUp(self) -> None:
        for name in ("steady_timers", "end_orderly_on_signals", "calm_collector"):
            self.patch(process, name, lambda *_: None)  # they are for the whole process
        self.patch(tap, "limit_tracebacks", lambda *_: None)

    def said(self, *options: str | Path) -> str:
        """The line that a daemon ends with when it cannot start."""
        parsed = tap.Options()
        with self.assertRaises(SystemExit) as caught:
            parsed.parseOptions([str(option) for option in options])
            tap.makeService(parsed).startService()
        return f"{caught.exception}\n"

    def assert_refused(self, toml: str | bytes, *names: str) -> str:
        """One line and nothing else, with the file and these words in it."""
        folder = self.folder()
        config = folder / "cmmd.toml"
        config.write_bytes(toml if isinstance(toml, bytes) else toml.encode())
        said = self.said("--config", config, "--state", folder / "var")
        self.assertRegex(said, r"\Acmmd: [^\n]+\n\Z")
        for name in names:
            self.assertIn(name, said)
        self.assertFalse((folder / "var").exists(), "the state directory was made")
        return said

    def test_unknown_key(self) -> None:
        self.assert_refused("[server]\nidle_timeuot = 1.0\n", "server.idle_timeuot", "unknown", "cmmd.toml")
        self.assert_refused("[sevrer]\n", "sevrer", "unknown")

    def test_wrong_type(self) -> None:
        self.assert_refused('[server]\nidle_timeout = "long"\n', "server.idle_timeout")
        self.assert_refused('[server]\nlogin = "tcp:21318"\n', "server.login")
        self.assert_refused("[upload]\ndata_mode = 1.5\n", "upload.data_mode")
        self.assert_refused("server = 1\n", "server")

    def test_wrong_value(self) -> None:
        self.assert_refused("[server]\nmax_frame = 0\n", "server.max_frame")
        self.assert_refused("[server]\nidle_timeout = nan\n", "server.idle_timeout")
        self.assert_refused('[enrolment]\npolicy = "maybe"\n', "enrolment.policy")
        self.assert_refused('[server]\nadvertise_live = "no port"\n', "server.advertise_live")
        self.assert_refused("[server]\nlive = []\n", "server.live")

    def test_endpoint_string(self) -> None:
        for string in ("tcp:notaport", "nonsense:1", "tcp:", "21318", "ssl:21318"):
            self.assert_refused(f'[server]\nlive = ["{string}"]\n', "server.live", string)

    def test_not_toml(self) -> None:
        self.assert_refused("[server\n", "cmmd.toml", "line 1")
        self.assert_refused(b"[server]\nlogin = \xff\n", "cmmd.toml")

    def test_no_file(self) -> None:
        said = self.said("--config", "missing.toml")
        self.assertRegex(said, r"\Acmmd: missing\.toml: [^\n]+\n\Z")

    def test_unknown_option(self) -> None:
        said = self.said("--colour", "red")
        self.assertRegex(said, r"\Acmmd: [^\n]*colour[^\n]*\n\Z")

    def test_database_that_is_not_there(self) -> None:
        url = f"postgresql://cmmd:secret@127.0.0.1:{service_port()}/cmmd"
        daemon = Daemon(self.folder(), {"store": {"url": url}})
        self.assert_does_not_start(daemon, "127.0.0.1", "Connection refused")

    def assert_does_not_start(self, daemon: Daemon, *names: str) -> None:
        """One line with these words, and no port."""
        said = self.said("--config", daemon.config, "--state", daemon.state)
        self.assertRegex(said, r"\Acmmd: [^\n]+\n\Z")
        self.assertNotIn("secret", said)
        for name in names:
            self.assertIn(name, said)

    async def test_port_taken(self) -> None:
        free = service_port()
        daemon = self.prepared()
        with socket.create_server(("127.0.0.1", daemon.port)):
            self.assert_does_not_start(daemon, str(daemon.port))
        other = self.prepared({"server": {"live": [endpoint(free)], "historic": [endpoint(daemon.port)]}})
        with socket.create_server(("127.0.0.1", daemon.port)):
            self.assert_does_not_start(other, str(daemon.port))
        await deferLater(reactor, 0)  # in this process ports are closed by its reactor
        for port in (free, other.port):
            self.assertRaises(ConnectionRefusedError, PlainDevice, port)

    def test_state_in_use(self) -> None:
        first, second = self.prepared(), self.prepared()
        holder = self.hold(first)
        second.state.symlink_to(first.state)
        self.assert_does_not_start(second, str(second.state), f"process {holder}")
        self.assertRaises(ConnectionRefusedError, PlainDevice, second.port)

    def hold(self, daemon: Daemon) -> int:
        """Take a daemon's state.

        :return: the process that has it.
        """
        self.addCleanup(lock_state(daemon.state).close)
        return os.getpid()

    def test_newer_schema(self) -> None:
        daemon = self.prepared()
        daemon.state.mkdir()
        with contextlib.closing(sqlite3.connect(daemon.state / "cmmd.sqlite")) as database:
            database.execute("PRAGMA user_version = 999")
        self.assert_does_not_start(daemon, "cmmd.sqlite", "999", "newer cmmd")
        self.assertRaises(ConnectionRefusedError, PlainDevice, daemon.port)

    def test_not_a_database(self) -> None:
        daemon = self.prepared()
        daemon.state.mkdir()
        text = b"this is not a database, and not empty " * 50
        (daemon.state / "cmmd.sqlite").write_bytes(text)
        self.assert_does_not_start(daemon, "cmmd.sqlite")
        self.assertEqual((daemon.state / "cmmd.sqlite").read_bytes(), text)

    def test_state_is_a_file(self) -> None:
        daemon = self.prepared()
        daemon.state.write_text("a file", encoding="utf-8")
        self.assert_does_not_start(daemon, str(daemon.state))
