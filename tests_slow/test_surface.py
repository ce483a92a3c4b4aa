"""More of ``twistd -n cmmd`` in processes: each wrong configuration, each option, ends of hundreds of connections."""

import contextlib
import signal
import sqlite3
import time
from pathlib import Path

from tests import test_surface as short
from tests.daemon import Daemon
from tests.plain_device import PlainDevice, message, register
from tests.test_surface import HOSTID, REFUSED, without_time


class ConfiguredTests(short.Folders):
    """One option at a time."""

    def test_one_port_for_equal_strings(self) -> None:
        daemon = self.daemon()
        result = register(daemon.port, HOSTID)["result"]
        self.assertEqual({result["liveData"], result["historic"]}, {f"127.0.0.1:{daemon.port}"})
        self.assertEqual(len(listening(daemon.pid)), 1)

    def test_advertised_addresses(self) -> None:
        daemon = self.daemon(advertise_live="cmm.example.com:21319", advertise_historic="[2001:db8::7]:21320")
        result = register(daemon.port, HOSTID)["result"]
        self.assertEqual(result["liveData"], "cmm.example.com:21319")
        self.assertEqual(result["historic"], "[2001:db8::7]:21320")

    def test_upload_terms(self) -> None:
        terms = {"data_mode": 0, "online_rate": 1000, "offline_rate": 60000, "reset_packet_num": 1500}
        daemon = self.prepared({"upload": terms}).start()
        result = register(daemon.port, HOSTID)["result"]
        self.assertEqual({key: result[key] for key in terms}, terms)
        self.assertEqual(list(result)[-1], "reset_packet_num")

    def test_closed_enrolment(self) -> None:
        daemon = self.prepared({"enrolment": {"policy": "known"}}).start()
        answer = register(daemon.port, HOSTID)
        self.assertEqual(without_time(answer), {"method": "login", "result": REFUSED, "retcode": "000005"})

    def test_no_pidfile_and_a_private_store(self) -> None:
        daemon = self.daemon()
        folder = daemon.state.parent
        self.assertEqual(sorted(path.name for path in folder.iterdir()), ["cmmd.toml", "output", "state"])
        self.assertEqual((daemon.state / "cmmd.sqlite").stat().st_mode & 0o077, 0)


class ManyEndsTests(short.EndTests):
    kills = 10
    devices = 75

    def test_sigint(self) -> None:
        self.assert_orderly_end(signal.SIGINT)

    def test_sigterm_beside_peers_that_do_not_read(self) -> None:
        daemon = self.daemon()
        register(daemon.port, HOSTID)
        flood = message("HB", HOSTID, params="") * 1000
        for _ in range(4):
            device = PlainDevice(daemon.port)
            self.addCleanup(device.socket.close)
            device.socket.settimeout(1)
            with contextlib.suppress(TimeoutError):  # it is not read any more
                while True:
                    device.socket.sendall(flood)
        started = time.monotonic()
        self.assertEqual(daemon.terminate(), 0, daemon.log)
        self.assertLess(time.monotonic() - started, self.longest_end_s)

    def test_sigterm_with_nobody_there(self) -> None:
        daemon = self.daemon()
        self.assertEqual(daemon.terminate(), 0, daemon.log)
        self.assertRaises(ConnectionRefusedError, PlainDevice, daemon.port)


class WrongTests(short.WrongTests):
    """Each with a process of its own."""

    def said(self, *options: str | Path) -> str:
        process = short.WrongDaemon(self.folder(), *options)
        self.addCleanup(process.kill)
        self.assertEqual(process.ended(), 1, process.log)
        return process.log

    def assert_does_not_start(self, daemon: Daemon, *names: str) -> None:
        """One line with these words among what the log says, and no port."""
        daemon.begin()
        self.assertEqual(daemon.ended(), 1, daemon.log)
        lines = [line for line in daemon.log.splitlines() if "] cmmd: " in line]
        self.assertEqual(len(lines), 1, daemon.log)
        for name in names:
            self.assertIn(name, lines[0])
        for word in ("Traceback", "secret"):
            self.assertNotIn(word, daemon.log)

    def hold(self, daemon: Daemon) -> int:
        register(daemon.start().port, HOSTID)
        self.addCleanup(lambda: self.assertEqual(register(daemon.port, HOSTID)["retcode"], "000000"))
        return daemon.pid

    def test_newer_schema_of_a_store_that_was_used(self) -> None:
        daemon = self.daemon()
        self.assertEqual(daemon.terminate(), 0)
        with contextlib.closing(sqlite3.connect(daemon.state / "cmmd.sqlite")) as database:
            database.execute("PRAGMA user_version = 999")
        (daemon.state.parent / "output").unlink()
        self.assert_does_not_start(daemon, "cmmd.sqlite", "999", "newer cmmd")
        self.assertRaises(ConnectionRefusedError, PlainDevice, daemon.port)


def listening(pid: int) -> set[int]:
    """The TCP ports that a process listens on."""
    inodes = set()
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        try:
            target = str(descriptor.readlink())
        except FileNotFoundError:  # closed in the meantime
            continue
        if target.startswith("socket:["):
            inodes.add(target[8:-1])
    found = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/{pid}/net/{table}").read_text(encoding="ascii").splitlines()[1:]:
            columns = line.split()
            if columns[3] == "0A" and columns[9] in inodes:
                found.add(int(columns[1].rpartition(":")[2], 16))
    return found
