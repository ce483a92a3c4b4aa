"""``cmmd.gateway.store_and_forward.buffer``: what is kept is there after anything, in order, within bounds."""

import json
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar, cast

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from twisted.internet import reactor as _reactor
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorFromThreads
from twisted.logger import LogLevel, capturedLogs
from twisted.trial.unittest import SynchronousTestCase, TestCase

from cmmd.gateway.store_and_forward.buffer import LEAST_BYTES, Buffer, BufferFailed, Kept, Ordered, Stamp, ThreadWorker
from tests.daemon import DEADLINE_S, environment
from tests.prompt_worker import PromptWorker
from tests.scripted_server import HOSTID, PLAN
from tests.support import compact

reactor = cast("IReactorFromThreads", _reactor)

T = TypeVar("T")

STAMP = Stamp(1_790_000_000.25, "boot", 12.5)


def kept(text: str, hostid: str = HOSTID, plan: str = PLAN) -> Kept:
    return Kept(hostid=hostid, plan=plan, stamp=STAMP, message=compact(text))


class BufferTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.path = Path(self.mktemp())
        self.worker = PromptWorker()
        self.buffer = Buffer(self.path, self.worker)

    def do(self, coroutine: Coroutine[Deferred[Any], Any, T]) -> T:
        return self.successResultOf(Deferred.fromCoroutine(coroutine))

    def fails(self, coroutine: Coroutine[Deferred[Any], Any, T]) -> str:
        return str(self.failureResultOf(Deferred.fromCoroutine(coroutine), BufferFailed).value)

    def opened(self, **bounds: Any) -> Buffer:
        """Open it anew, as a start does."""
        self.do(self.buffer.close())
        self.buffer = Buffer(self.path, self.worker, **bounds)
        self.remembered = self.do(self.buffer.open())
        self.addCleanup(self.close, self.buffer)
        return self.buffer

    def close(self, buffer: Buffer) -> None:
        self.do(buffer.close())

    def drained(self) -> list[str]:
        """All that is in it, which is taken out."""
        found = []
        while (one := self.do(self.buffer.next(HOSTID, [PLAN]))) is not None:
            found.append(json.loads(one.message))
            self.do(self.buffer.remove(one))
        return found


class KeepingTests(BufferTestCase):
    def test_oldest_first_each_until_it_is_removed(self) -> None:
        buffer = self.opened()
        self.assertIsNone(self.do(buffer.next(HOSTID, [PLAN])))
        for text in "abc":
            self.do(buffer.add(kept(text)))
        first = self.do(buffer.next(HOSTID, [PLAN]))
        assert first is not None
        self.assertEqual(first, Kept(number=1, hostid=HOSTID, plan=PLAN, stamp=STAMP, message=b'"a"'))
        self.assertEqual(self.do(buffer.next(HOSTID, [PLAN])), first)
        self.assertEqual(buffer.rows, 3)
        self.assertEqual(self.drained(), ["a", "b", "c"])
        self.assertEqual((buffer.rows, buffer.lost), (0, 0))

    def test_after_a_restart(self) -> None:
        buffer = self.opened()
        self.assertIsNone(self.remembered)
        for text in "ab":
            self.do(buffer.add(kept(text)))
        for period_s in (7.0, 3.0):
            self.do(buffer.remember(Ordered(PLAN, period_s)))
        self.assertEqual(self.opened().rows, 2)
        self.assertEqual(self.remembered, Ordered(PLAN, 3.0))
        self.assertEqual(self.drained(), ["a", "b"])

    def test_numbers_do_not_come_again(self) -> None:
        buffer = self.opened()
        first = self.do(buffer.add(kept("a")))
        self.assertTrue(self.do(buffer.remove(first)))
        self.do(buffer.add(kept("b")))
        self.assertFalse(self.do(buffer.remove(first)))
        self.assertEqual(self.drained(), ["b"])

    def test_a_number_of_another_file(self) -> None:
        """Where a new file has begun, so have its numbers."""
        buffer = self.opened()
        first = self.do(buffer.add(kept("a")))
        self.path.unlink()
        self.do(buffer.open())
        for changed in (STAMP._replace(unix_s=1.0), STAMP._replace(boot="another"), STAMP._replace(ticks_s=0.1)):
            second = self.do(buffer.add(replace(kept("b"), stamp=changed)))
            self.assertFalse(self.do(buffer.remove(replace(first, number=second.number))))
        self.assertEqual(self.drained(), ["b"] * 3)

    def test_of_some_plans(self) -> None:
        buffer = self.opened()
        for one in (kept("a"), kept("b", plan="another"), kept("c", hostid="another"), kept("d")):
            self.do(buffer.add(one))
        self.assertEqual(self.do(buffer.plans(HOSTID)), {PLAN: 2, "another": 1})
        for plans, numbers in (((PLAN,), [1, 4]), ((PLAN, "another"), [1, 2, 4]), ((), []), (("none",), [])):
            found, after = [], 0
            while (one_ := self.do(buffer.next(HOSTID, plans, after))) is not None:
                found.append(after := one_.number)
            self.assertEqual(found, numbers)

    def test_nobody_else_reads_it(self) -> None:
        self.opened()
        self.assertEqual(self.path.stat().st_mode & 0o777, 0o600)


class BoundTests(BufferTestCase):
    def test_rows(self) -> None:
        buffer = self.opened(most_rows=3)
        with capturedLogs() as events:
            for number in range(10):
                self.do(buffer.add(kept(str(number))))
        self.assertEqual((buffer.rows, buffer.lost), (3, 7))
        self.assertEqual([event["log_level"] for event in events], [LogLevel.warn], "said once")
        self.assertEqual(self.drained(), ["7", "8", "9"])

    def test_what_is_taken_out_again_costs_one(self) -> None:
        """It leaves its place to the next one, however often that happens, and whatever stays meanwhile."""
        buffer = self.opened(most_rows=100)
        for _ in range(100):
            self.do(buffer.add(kept("a")))
        for turn in range(50):
            self.do(buffer.remove(self.do(buffer.add(kept("b")))))
            self.assertEqual((buffer.rows, buffer.lost), (99, 1 + turn))
            self.do(buffer.add(kept("c")))
        self.assertEqual(self.drained(), ["a"] * 50 + ["c"] * 50)

    @settings(max_examples=10)
    @given(st.lists(st.integers(0, 30_000), min_size=1, max_size=8))
    def test_bytes(self, lengths: list[int]) -> None:
        self.path.unlink(missing_ok=True)
        buffer = self.opened(most_bytes=LEAST_BYTES)
        for number, length in enumerate(lengths):
            self.do(buffer.add(kept(f"{number} " + "x" * length)))
            self.assertLessEqual(self.path.stat().st_size, LEAST_BYTES)
        numbers = [int(text.split()[0]) for text in self.drained()]
        self.assertEqual(numbers, list(range(len(lengths)))[-len(numbers) :], "the newest, without a gap")
        self.assertEqual(buffer.lost, len(lengths) - len(numbers))
        if sum(lengths) < LEAST_BYTES // 4:
            self.assertEqual(buffer.lost, 0, "what fits stays")

    def test_one_that_alone_is_too_large_stays(self) -> None:
        buffer = self.opened(most_bytes=LEAST_BYTES)
        self.do(buffer.add(kept("a")))
        self.do(buffer.add(kept("x" * LEAST_BYTES)))
        self.assertEqual((buffer.rows, buffer.lost), (1, 1))

    def test_the_file_shrinks(self) -> None:
        buffer = self.opened()
        for _ in range(20):
            self.do(buffer.add(kept("x" * 50_000)))
        large = self.path.stat().st_size
        self.assertGreater(large, 1_000_000)
        self.drained()
        self.assertLess(self.path.stat().st_size, large / 20)

    def test_bounds_that_make_no_sense(self) -> None:
        for bounds in ({"most_rows": 0}, {"most_bytes": LEAST_BYTES - 1}):
            self.assertRaises(ValueError, Buffer, self.path, self.worker, **bounds)


class TroubleTests(BufferTestCase):
    def test_a_damaged_file_is_put_aside(self) -> None:
        for damage in (b"no database at all" * 100, b""):
            with self.subTest(damage[:10]):
                self.path.write_bytes(damage)
                with capturedLogs() as events:
                    self.opened()
                self.assertEqual(len(events), bool(damage))
                self.do(self.buffer.add(kept("a")))
                self.assertEqual(self.drained(), ["a"])
        aside = self.path.with_name(self.path.name + ".damaged")
        self.assertTrue(aside.read_bytes().startswith(b"no database"))

    def test_a_file_with_damage_inside(self) -> None:
        buffer = self.opened()
        for _ in range(50):
            self.do(buffer.add(kept("x" * 2000)))
        self.do(buffer.close())
        content = bytearray(self.path.read_bytes())
        content[8192:40960] = b"\xa5" * (40960 - 8192)
        self.path.write_bytes(content)
        with capturedLogs() as events:
            self.assertEqual(self.opened().rows, 0)
        self.assertEqual([event["log_level"] for event in events], [LogLevel.error])
        self.do(self.buffer.add(kept("a")))
        self.assertEqual(self.drained(), ["a"])

    def test_a_file_of_before_times_were_remembered(self) -> None:
        """It is taken over, and what wrote it can still read it."""
        self.opened()
        first = self.do(self.buffer.add(kept("a")))
        self.do(self.buffer.close())
        with sqlite3.connect(self.path) as connection:
            connection.executescript("DROP TRIGGER gone; DROP TABLE sent")
        connection.close()
        self.opened()
        self.assertEqual(self.do(self.buffer.next(HOSTID, [PLAN])), first)
        self.do(self.buffer.note(first, 1_790_000_000_250))
        self.opened()
        self.assertEqual(self.do(self.buffer.next(HOSTID, [PLAN])), replace(first, itime=1_790_000_000_250))
        with sqlite3.connect(self.path) as connection:
            self.assertEqual(connection.execute("PRAGMA user_version").fetchone(), (1,))
            self.assertEqual(len(connection.execute("SELECT * FROM upload").fetchone()), 7)
        connection.close()

    def test_the_time_of_an_upload_goes_with_it(self) -> None:
        self.opened()
        first, second = (self.do(self.buffer.add(kept(text))) for text in "ab")
        for itime in (5, 6):
            self.do(self.buffer.note(first, itime))
        self.do(self.buffer.note(replace(second, stamp=Stamp(1.0, "boot", 1.0)), 7))  # of another file
        self.assertEqual(self.do(self.buffer.next(HOSTID, [PLAN])), replace(first, itime=6))
        self.do(self.buffer.note(first, None))
        self.assertEqual(self.do(self.buffer.next(HOSTID, [PLAN])), first)
        self.assertTrue(self.do(self.buffer.remove(first)))
        self.assertEqual(self.do(self.buffer.next(HOSTID, [PLAN])), second)
        with sqlite3.connect(self.path) as connection:
            self.assertEqual(connection.execute("SELECT * FROM sent").fetchall(), [])
        connection.close()

    def test_a_file_of_a_later_version(self) -> None:
        with sqlite3.connect(self.path) as connection:
            connection.execute("PRAGMA user_version = 2")
        connection.close()
        with capturedLogs() as events:
            self.opened()
        self.assertIn("version 2", str(events[0]["damage"]))

    def test_a_folder_that_is_not_there(self) -> None:
        self.buffer = Buffer(self.path / "missing" / "file", self.worker)
        self.assertIn("missing", self.fails(self.buffer.open()))
        self.assertIn("not open", self.fails(self.buffer.add(kept("a"))))
        self.assertIn("not open", self.fails(self.buffer.next(HOSTID, [PLAN])))
        self.do(self.buffer.close())
        self.assertFalse(self.worker.running)

    def test_open_anew(self) -> None:
        """What waited is there, whether it was open or not; and who may mend it is told when to."""
        buffer = self.opened()
        self.do(buffer.add(kept("a")))
        failures: list[str] = []
        buffer.on_failure = lambda: failures.append("")
        self.assertIsNone(self.do(buffer.open()))
        self.assertEqual((buffer.rows, failures), (1, []))
        self.worker.fails = sqlite3.OperationalError("database is locked")
        self.assertIn("locked", self.fails(buffer.open()))
        self.assertIn("locked", self.fails(buffer.add(kept("b"))))
        self.assertEqual(len(failures), 2)
        self.worker.fails = None
        self.do(buffer.open())
        self.do(buffer.add(kept("c")))
        self.assertEqual((self.drained(), len(failures)), (["a", "c"], 2))

    def test_a_file_that_has_gone(self) -> None:
        buffer = self.opened()
        self.path.unlink()
        self.fails(buffer.add(kept("a")))
        self.do(buffer.open())
        self.do(buffer.add(kept("b")))
        self.assertEqual(self.drained(), ["b"])

    def test_a_disk_that_fails(self) -> None:
        """What is not kept is said to be, and what was kept before stays."""
        buffer = self.opened()
        first = self.do(buffer.add(kept("a")))
        self.worker.fails = OSError(5, "Input/output error")
        self.assertIn("Input/output error", self.fails(buffer.add(kept("b"))))
        self.assertIn("Input/output error", self.fails(buffer.remove(first)))
        self.worker.fails = None
        self.assertEqual((buffer.rows, self.drained()), (1, ["a"]))

    def test_somebody_else_writes_to_it(self) -> None:
        buffer = self.opened()
        other = sqlite3.connect(self.path, isolation_level=None)
        self.addCleanup(other.close)
        other.execute("BEGIN EXCLUSIVE")
        self.patch(buffer, "_connection", sqlite3.connect(self.path, timeout=0, isolation_level=None))
        self.assertIn("locked", self.fails(buffer.add(kept("a"))))
        self.assertEqual(buffer.rows, 0)
        other.execute("ROLLBACK")
        self.do(buffer.add(kept("b")))
        self.assertEqual(self.drained(), ["b"])


_WRITER = """
import sys
from pathlib import Path
from twisted.internet.defer import Deferred
from tests.prompt_worker import PromptWorker
from tests.test_gateway_store_and_forward_buffer import kept
from cmmd.gateway.store_and_forward.buffer import Buffer, Ordered

async def write():
    buffer = Buffer(Path(sys.argv[1]), PromptWorker())
    await buffer.open()
    await buffer.remember(Ordered("plan", 3.0))
    number = 0
    while True:
        await buffer.add(kept(str(number)))
        print(number, flush=True)
        number += 1

Deferred.fromCoroutine(write())
"""


class KillTests(BufferTestCase):
    def test_kill_9(self) -> None:
        """Everything that was said to be kept is there, whenever the process is killed."""
        for count in (1, 7, 40):
            self.path.unlink(missing_ok=True)
            process = subprocess.Popen(
                [sys.executable, "-c", _WRITER, str(self.path)],
                stdout=subprocess.PIPE,
                env=environment(),
            )
            assert process.stdout is not None
            said = [int(process.stdout.readline()) for _ in range(count)]
            process.send_signal(signal.SIGKILL)
            rest = process.stdout.read()  # not communicate(), which forgets what readline() has read ahead
            process.stdout.close()
            process.wait(DEADLINE_S)
            said += [int(line) for line in rest.split(b"\n")[:-1]]
            self.opened()
            self.assertEqual(self.remembered, Ordered("plan", 3.0))
            there = [int(text) for text in self.drained()]
            self.assertEqual(there[: len(said)], said)
            self.assertLessEqual(len(there), len(said) + 1)


class ThreadTests(TestCase):
    """With the worker that it has outside of tests."""

    async def test_in_a_thread(self) -> None:
        buffer = Buffer(Path(self.mktemp()), ThreadWorker(reactor, "buffer"))
        for _ in range(2):
            await buffer.open()
            self.addCleanup(buffer.close)
            for text in "ab":
                await buffer.add(kept(text))
            first = await buffer.next(HOSTID, [PLAN])
            assert first is not None
            self.assertEqual(first.message, b'"a"')
            await buffer.remove(first)
            await buffer.remove(replace(first, number=first.number + 1))
            self.assertEqual(buffer.rows, 0)
            await buffer.close()
