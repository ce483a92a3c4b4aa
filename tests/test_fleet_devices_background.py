"""Threads that compute beside the reactor."""

import os
import sys
import threading
from functools import partial

from twisted.internet import reactor
from twisted.internet.defer import gatherResults
from twisted.trial.unittest import TestCase

from cmmd.fleet.devices.background import BackgroundThreads, usable_cores


class BackgroundThreadsTests(TestCase):
    def setUp(self) -> None:
        self.threads = BackgroundThreads(reactor, 2, "test")  # type: ignore[arg-type]
        self.threads.start()
        self.addCleanup(self.stop)
        self.running = True

    def stop(self) -> None:
        if self.running:
            self.running = False
            self.threads.stop()

    async def test_what_it_returns(self) -> None:
        thread = await self.threads.submit(threading.current_thread)
        self.assertRegex(thread.name, r"\Atest-[01]\Z")
        self.assertIsNot(thread, threading.current_thread())

    async def test_what_it_raises(self) -> None:
        with self.assertRaises(ZeroDivisionError):
            await self.threads.submit(lambda: 1 // 0)
        self.assertEqual(await self.threads.submit(lambda: 1), 1, "the thread goes on")

    async def test_at_the_same_time_and_no_more(self) -> None:
        both = threading.Barrier(2, timeout=30)
        self.assertEqual(
            sorted(await gatherResults([self.threads.submit(both.wait) for _ in range(2)], consumeErrors=True)), [0, 1]
        )
        self.assertLessEqual(len({await self.threads.submit(threading.get_ident) for _ in range(20)}), 2)

    async def test_gives_way(self) -> None:
        def niceness() -> int:
            return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())

        self.assertEqual(sys.platform, "linux", "the only platform on which cmmd is tested")
        self.assertEqual(await self.threads.submit(niceness), min(niceness() + 5, 19))

    def test_stop_has_done_what_was_submitted(self) -> None:
        done: list[int] = []
        for number in range(50):
            self.threads.submit(partial(done.append, number))
        before = threading.active_count()
        self.stop()
        self.assertEqual(sorted(done), list(range(50)))
        self.assertEqual(threading.active_count(), before - 2)


class UsableCoresTests(TestCase):
    def test_as_many_as_the_process_may_use(self) -> None:
        usable = os.sched_getaffinity(0)
        self.addCleanup(os.sched_setaffinity, 0, usable)
        os.sched_setaffinity(0, {min(usable)})
        self.assertEqual(usable_cores(), 1)
