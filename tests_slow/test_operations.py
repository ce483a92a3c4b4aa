"""docs/operations.md as it is written, with real daemons and cmmctl."""

import contextlib
import os
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.child import DEADLINE_S
from tests.daemon import Daemon, environment, until
from tests.plain_device import PlainDevice, login, register
from tests.test_durability import kept

DOCUMENT = Path(__file__).resolve().parent.parent / "docs" / "operations.md"


class OperationsTests(SynchronousTestCase):
    timeout = 300

    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir()
        self.backup = self.folder / "cmmd.sqlite.backup"
        self.daemon = self.new_daemon("first")

    def new_daemon(self, name: str) -> Daemon:
        (self.folder / name).mkdir()
        daemon = Daemon(self.folder / name)
        self.addCleanup(daemon.kill)
        return daemon

    def cmmctl(self, daemon: Daemon, *words: str | Path, status: int = 0) -> str:
        """``cmmctl store``; what it says."""
        command = [sys.executable, "-m", "cmmd.cli", "--state", daemon.state, "store", *words]
        done = subprocess.run(
            command, env=environment(), capture_output=True, text=True, timeout=DEADLINE_S, check=False
        )
        self.assertEqual(done.returncode, status, done.stdout + done.stderr)
        return done.stdout + done.stderr

    def served(self, daemon: Daemon, *hostids: str) -> None:
        for hostid in hostids:
            register(daemon.port, hostid)

    def counted(self, daemon: Daemon) -> int:
        """How many devices the daemon said it has at its latest start."""
        (*_, line) = (line for line in daemon.log.splitlines() if "devices are registered" in line)
        return int(line.partition("serves; ")[2].split()[0])

    def refused(self, daemon: Daemon, *why: str) -> None:
        daemon.begin()
        self.assertEqual(daemon.ended(), 1)
        for words in why:
            self.assertIn(words, daemon.log.splitlines()[-1])
            self.assertIn(words.partition(" (")[0], DOCUMENT.read_text(encoding="utf-8"))

    def test_backup_and_restore(self) -> None:
        self.daemon.start()
        self.served(self.daemon, "A", "B")
        self.assertIn("2 devices", self.cmmctl(self.daemon, "backup", self.backup))
        self.served(self.daemon, "C")
        self.assertIn("in use", self.cmmctl(self.daemon, "restore", self.backup, status=1))
        self.daemon.terminate()
        self.assertIn("the former file is", self.cmmctl(self.daemon, "restore", self.backup))
        self.daemon.start()
        self.assertEqual(self.counted(self.daemon), 2)

    def test_restore_after_a_kill_and_without_a_store(self) -> None:
        self.daemon.start()
        self.served(self.daemon, "A")
        self.cmmctl(self.daemon, "backup", self.backup)
        self.served(self.daemon, "B")
        self.daemon.kill()
        for ending in ("", "-wal"):
            (self.daemon.state / f"cmmd.sqlite{ending}").unlink(missing_ok=True)
            if not ending:
                self.refused(self.daemon, "has served devices")
        self.cmmctl(self.daemon, "restore", self.backup)
        self.daemon.start()
        self.assertEqual(self.counted(self.daemon), 1)

    def test_move_to_another_host(self) -> None:
        self.daemon.start()
        self.served(self.daemon, "A")
        self.daemon.terminate()
        self.cmmctl(self.daemon, "backup", self.backup)
        second = self.new_daemon("second")
        names = shutil.ignore_patterns("cmmd.sqlite*", "spool.sqlite*", "known.sqlite*")
        shutil.copytree(self.daemon.state, second.state, ignore=names)
        self.cmmctl(second, "restore", self.backup)
        second.start()
        self.assertEqual(self.counted(second), 1)
        whole = self.new_daemon("whole")
        shutil.copytree(self.daemon.state, whole.state)
        whole.start()
        self.assertEqual(self.counted(whole), 1)

    def test_replaced_while_it_runs(self) -> None:
        """Against all advice; what the log says then is what helps."""
        self.daemon.start()
        self.served(self.daemon, "A")
        self.cmmctl(self.daemon, "backup", self.backup)
        self.served(self.daemon, "B")
        shutil.copyfile(self.backup, self.daemon.state / "cmmd.sqlite")
        with PlainDevice(self.daemon.port) as device:
            device.send(login("C"))
            self.assertIn(b"000006", device.receive())
        until(
            lambda: "bring a backup back with `cmmctl store restore FILE`" in self.daemon.log, "the way out in the log"
        )
        self.daemon.terminate()
        self.assertIn("the WAL of the former file is now", self.daemon.log)
        self.cmmctl(self.daemon, "restore", self.backup)
        self.cmmctl(self.daemon, "check")
        self.daemon.start()
        self.assertEqual(self.counted(self.daemon), 1)
        self.assertEqual(kept(self.daemon.state), [])

    def test_killed_and_overwritten(self) -> None:
        """The WAL of the former file is not replayed into the backup."""
        self.daemon.start()
        self.served(self.daemon, "A")
        self.cmmctl(self.daemon, "backup", self.backup)
        self.served(self.daemon, "B", "C")
        self.daemon.kill()
        shutil.copyfile(self.backup, self.daemon.state / "cmmd.sqlite")
        self.daemon.start()
        self.assertEqual(self.counted(self.daemon), 1)
        self.assertIn("the WAL of the former one is now", self.daemon.log)
        self.cmmctl(self.daemon, "check")

    def test_two_daemons_on_one_file(self) -> None:
        self.daemon.start()
        second = self.new_daemon("second")
        second.state.mkdir()
        (second.state / "cmmd.sqlite").symlink_to(self.daemon.state / "cmmd.sqlite")
        self.refused(second, "another cmmd uses this file")

    def test_a_log_that_is_not_read_stops_no_device(self) -> None:
        reader, writer = os.pipe()
        self.addCleanup(os.close, reader)
        self.addCleanup(os.close, writer)
        os.set_blocking(writer, False)
        with contextlib.suppress(BlockingIOError):
            while True:
                os.write(writer, b"full" * 1024)
        self.daemon._output = Path(f"/proc/self/fd/{writer}")
        self.daemon.begin()
        until(partial(self.accepts, self.daemon), "connections")
        self.served(self.daemon, *(f"D{number}" for number in range(20)))

    def accepts(self, daemon: Daemon) -> bool:
        with contextlib.suppress(OSError), PlainDevice(daemon.port):
            return True
        return False
