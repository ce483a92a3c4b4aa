"""The state lock, the limit of open files, the pidfile, signals."""

import gc
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from cmmd.process import StateInUse, calm_collector, lock_state, prepare_foreground, raise_file_limit
from tests.daemon import environment

SIGNALLED = """
import os, signal, sys
from twisted.internet import reactor, task
from cmmd.process import end_orderly_on_signals
end_orderly_on_signals(reactor)
early, *later = sys.argv[1:]
if early:
    os.kill(os.getpid(), getattr(signal, early))
for number, name in enumerate(later):
    reactor.callLater(number * 0.05, os.kill, os.getpid(), getattr(signal, name))
reactor.addSystemEventTrigger("before", "shutdown", lambda: task.deferLater(reactor, 0.2))
reactor.addSystemEventTrigger("after", "shutdown", lambda: print("stopped"))
reactor.run()
sys.exit(int(reactor._exitSignal is not None))
"""

CALENDAR_SET = """
import sys, time
real, moved_s, ticks, early = time.time, 0.0, [], []
time.time = lambda: real() + moved_s
from twisted.internet import reactor, task
from cmmd.process import steady_timers
if sys.argv[2] == "steady":
    steady_timers(reactor)
def move():
    global moved_s
    moved_s = float(sys.argv[1])
    reactor.callFromThread(ticks.clear)  # in the next turn: the rest of this one still goes by the old calendar
def end():
    time.sleep(1.5)
    reactor.callFromThread(reactor.stop)
task.LoopingCall(ticks.append, "tick").start(0.05)
reactor.callLater(0.2, move)
reactor.callLater(600.0, early.append, "early")
reactor.callInThread(end)
reactor.run()
print(bool(ticks), bool(early))
"""


class LockTests(SynchronousTestCase):
    def test_state_is_made_and_taken_once(self) -> None:
        state = Path(self.mktemp()) / "a" / "b"
        lock = lock_state(state)
        message = str(self.assertRaises(StateInUse, lock_state, state))
        self.assertIn(f"in use by process {os.getpid()}", message)
        lock.close()
        lock_state(state).close()

    def test_state_that_cannot_be_made(self) -> None:
        path = Path(self.mktemp())
        path.touch()
        self.assertRaises(OSError, lock_state, path / "state")


class LimitTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.soft, self.hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        self.addCleanup(resource.setrlimit, resource.RLIMIT_NOFILE, (self.soft, self.hard))

    def test_raised_as_far_as_wanted(self) -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (256, self.hard))
        self.assertEqual(raise_file_limit(300), 300)
        self.assertEqual(resource.getrlimit(resource.RLIMIT_NOFILE), (300, self.hard))

    def test_never_lowered(self) -> None:
        self.assertEqual(raise_file_limit(10), self.soft)
        self.assertEqual(resource.getrlimit(resource.RLIMIT_NOFILE), (self.soft, self.hard))

    def test_hard_limit_is_the_end(self) -> None:
        self.patch(resource, "getrlimit", lambda _: (256, 512))
        asked: list[tuple[int, tuple[int, int]]] = []
        self.patch(resource, "setrlimit", lambda which, limits: asked.append((which, limits)))
        self.assertEqual(raise_file_limit(10_000), 512)
        self.assertEqual(asked, [(resource.RLIMIT_NOFILE, (512, 512))])

    def test_no_limits(self) -> None:
        self.patch(resource, "getrlimit", lambda _: (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        self.assertEqual(raise_file_limit(10_000), 10_000)


class CollectorTests(SynchronousTestCase):
    def test_full_collections_are_rare(self) -> None:
        self.addCleanup(gc.set_threshold, *gc.get_threshold())
        self.addCleanup(gc.unfreeze)
        calm_collector()
        self.assertGreaterEqual(gc.get_threshold()[2], 1000)
        self.assertGreater(gc.get_freeze_count(), 0)


class TimersTests(SynchronousTestCase):
    def moved(self, by_s: float, how: str) -> str:
        """Whether timers still fire, and whether one does that should not, after the calendar was set."""
        words = [sys.executable, "-c", CALENDAR_SET, str(by_s), how]
        done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False, env=environment())
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        return done.stdout.strip()

    def test_a_calendar_that_is_set(self) -> None:
        self.assertEqual(self.moved(-3600, "steady"), "True False")
        self.assertEqual(self.moved(3600, "steady"), "True False")

    def test_twisted_leaves_it_to_us(self) -> None:
        """Should it go on evenly by itself one day, steady_timers may go."""
        self.assertEqual(self.moved(-3600, "as it is"), "False False")
        self.assertEqual(self.moved(3600, "as it is")[-4:], "True")


class PidfileTests(SynchronousTestCase):
    def test_only_the_default_one_in_the_foreground_is_left_out(self) -> None:
        for parent, expected in (
            ({"nodaemon": 1, "pidfile": "twistd.pid"}, ""),
            ({"nodaemon": 1, "pidfile": "mine.pid"}, "mine.pid"),
            ({"nodaemon": 0, "pidfile": "twistd.pid"}, "twistd.pid"),
        ):
            prepare_foreground(parent)
            self.assertEqual(parent["pidfile"], expected)
        prepare_foreground(None)


HUNG_UP = """
import os, signal
signal.signal(signal.SIGHUP, signal.SIG_DFL)  # under nohup a test run inherits that it is ignored
from twisted.internet import reactor
from cmmd.process import on_hangup
def reload():
    print("read again")
    unhook()
    reactor.stop()
unhook = on_hangup(reactor, reload)
reactor.callWhenRunning(os.kill, os.getpid(), signal.SIGHUP)
reactor.run()
print(signal.getsignal(signal.SIGHUP) is signal.SIG_DFL)
"""


class HangupTests(SynchronousTestCase):
    def test_reads_again(self) -> None:
        done = subprocess.run(
            [sys.executable, "-c", HUNG_UP], capture_output=True, text=True, timeout=60, check=False, env=environment()
        )
        self.assertEqual((done.returncode, done.stdout, done.stderr), (0, "read again\nTrue\n", ""))


class SignalTests(SynchronousTestCase):
    def test_both_signals_end_orderly(self) -> None:
        """The first one comes before the reactor runs, where it is not empty."""
        for names in (["", "SIGTERM"], ["", "SIGINT"], ["", "SIGTERM", "SIGINT", "SIGTERM"], ["SIGTERM"], ["SIGINT"]):
            done = subprocess.run(
                [sys.executable, "-c", SIGNALLED, *names],
                capture_output=True,
                text=True,
                timeout=60,
                check=False,
                env=environment(),
            )
            self.assertEqual((done.returncode, done.stdout, done.stderr), (0, "stopped\n", ""))
        self.assertEqual(signal.SIGTERM, 15)
