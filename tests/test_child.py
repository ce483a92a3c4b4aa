"""Programs that tests start: they end with the run, however the run ends."""

import os
import signal
import subprocess
import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.child import RUN, Child
from tests.daemon import environment, until
from tests.support import REPOSITORY

RUNNER = """
import os, subprocess, tests, threading
started = []
def start():
    shell = subprocess.Popen(["/bin/sh", "-c", "sleep 600 & echo $!; wait"], stdout=subprocess.PIPE, text=True)
    started.extend([shell.pid, int(shell.stdout.readline())])
thread = threading.Thread(target=start)
thread.start()
thread.join()
print(*started, flush=True)
input()
"""
"""Starts a child and a grandchild from a thread that has ended, as the reactor's threads do."""


class WatchdogTests(SynchronousTestCase):
    def started(self) -> tuple["subprocess.Popen[str]", list[int]]:
        """A runner of its own, and the processes that it has started."""
        outer = {name: value for name, value in environment().items() if name != RUN}
        runner = subprocess.Popen(
            [sys.executable, "-c", RUNNER],
            cwd=REPOSITORY,
            env=outer,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.addCleanup(runner.communicate)
        self.addCleanup(runner.kill)
        assert runner.stdout is not None
        children = [int(word) for word in runner.stdout.readline().split()]
        self.assertEqual([is_running(pid) for pid in children], [True, True])
        return runner, children

    def test_children_of_a_killed_runner_end(self) -> None:
        runner, children = self.started()
        runner.kill()
        until(lambda: not any(map(is_running, children)), "the end of the children")

    def test_children_of_an_ended_runner_end(self) -> None:
        runner, children = self.started()
        runner.communicate("\n")
        until(lambda: not any(map(is_running, children)), "the end of the children")

    def test_this_run_is_watched(self) -> None:
        """Each child carries the variable, also one that no wrapper starts."""
        said = subprocess.run(["/usr/bin/env"], stdout=subprocess.PIPE, check=True, text=True).stdout
        self.assertIn(f"{RUN}={os.environ[RUN]}\n", said)


class _Shell(Child):
    def start(self, script: str) -> "_Shell":
        self._launch(["/bin/sh", "-c", script], cwd=Path("/"))
        return self


class ChildTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.child = _Shell(Path(self.mktemp()))

    def test_starts_again_and_keeps_its_output(self) -> None:
        self.assertEqual((self.child.alive, self.child.log), (False, ""))
        self.assertEqual(self.child.start("echo one; exit 3").ended(), 3)
        self.assertEqual(self.child.start("echo two >&2; exit 4").ended(), 4)
        self.assertEqual(self.child.log, "one\ntwo\n")

    def test_ends_once(self) -> None:
        self.child.start("exec sleep 600")
        self.assertTrue(self.child.alive)
        self.assertEqual(self.child.terminate(), -signal.SIGTERM)
        self.assertFalse(self.child.alive)
        self.assertEqual(self.child.terminate(), -signal.SIGTERM, "the status that it had")
        self.child.kill()

    def test_says_why_it_is_not_alive(self) -> None:
        self.child.start("echo broken; exit 7")
        until(lambda: not self.child.alive, "the end")
        error = self.assertRaises(AssertionError, self.child.assert_alive)
        self.assertIn("ended with status 7:\nbroken", str(error))
        self.child.kill()


def is_running(pid: int) -> bool:
    """Whether a process exists and is no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
