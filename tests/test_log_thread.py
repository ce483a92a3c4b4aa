"""The log, whose reader may stop: no writer ever waits for it, and what was dropped is counted."""

import fcntl
import gc
import os
from collections.abc import Callable
from threading import Thread
from typing import Any

from twisted.python.reflect import namedAny
from twisted.trial.unittest import SynchronousTestCase

from cmmd import log_thread
from cmmd.log_thread import LogThread, write_log_in_thread


class LogThreadTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.reader, self.writer = os.pipe()
        self.addCleanup(os.close, self.reader)
        self.log = LogThread(self.writer)

    def everything(self) -> list[str]:
        """All lines, read while the end waits for that."""
        found: list[bytes] = []

        def read() -> None:
            while piece := os.read(self.reader, 65536):
                found.append(piece)

        reading = Thread(target=read)
        reading.start()
        self.log.stop()
        os.close(self.writer)
        reading.join()
        return b"".join(found).decode().splitlines()

    def test_in_order(self) -> None:
        for number in range(1000):
            self.log.write(f"{number}\n")
        self.log.start()
        self.log.flush()
        self.assertEqual(self.everything(), [str(number) for number in range(1000)])

    def test_a_reader_that_has_stopped(self) -> None:
        self.patch(log_thread, "MOST_LINES", 50)
        self.log.start()
        for number in range(5000):
            self.log.write(f"{number:>100}\n")  # far more than a pipe takes
        self.patch(log_thread, "MOST_LINES", 10_000)
        self.log.write("it reads again\n")
        lines = self.everything()
        self.assertEqual(lines[-1], "it reads again")
        notices = [line for line in lines if "lines of the log were dropped here" in line]
        self.assertEqual(sum(int(line.split()[1]) for line in notices), self.log.dropped)
        self.assertGreater(self.log.dropped, 0)
        self.assertEqual(len(lines) - len(notices) - 1 + self.log.dropped, 5000)

    def test_the_end_does_not_wait_for_ever(self) -> None:
        self.patch(log_thread, "END_S", 0.01)
        self.log.start()
        self.log.write("x" * 10_000 + "\n")
        for _ in range(20):
            self.log.write("x" * 10_000 + "\n")
        self.log.stop()
        os.set_blocking(self.reader, False)
        while self._read():
            pass

    def _read(self) -> bytes:
        try:
            return os.read(self.reader, 65536)
        except BlockingIOError:
            return b""

    def test_a_pipe_that_does_not_block(self) -> None:
        os.set_blocking(self.writer, False)
        fcntl.fcntl(self.writer, fcntl.F_SETPIPE_SZ, 4096)
        self.log.start()
        for number in range(500):
            self.log.write(f"{number:>100}\n")
        self.assertEqual(len(self.everything()), 500)

    def test_a_reader_that_has_gone(self) -> None:
        there, gone = os.pipe()
        os.close(there)
        log = LogThread(gone)
        log.start()
        log.write("one\n")
        log.stop()
        self.assertIsNone(log._thread)
        os.close(gone)

    def test_too_long_and_not_to_be_encoded(self) -> None:
        self.log.start()
        self.log.write("\ud800" + "y" * 20_000 + "\n")
        (line,) = self.everything()
        self.assertTrue(line.startswith("\\ud800yyy"))
        self.assertLess(len(line), 17_000)

    def test_the_garbage_collector_may_log(self) -> None:
        class Dying:
            def __init__(self, said: Callable[[str], None]) -> None:
                self.itself = self
                self.said = said

            def __del__(self) -> None:
                self.said("collected\n")

        before = gc.get_threshold()
        self.addCleanup(gc.set_threshold, *before)
        gc.set_threshold(1)
        self.log.start()
        for number in range(300):
            Dying(self.log.write)
            self.log.write(f"{number}\n")
        gc.collect()
        lines = self.everything()
        self.assertEqual(lines.count("collected"), 300)
        self.assertEqual(len(lines), 600)


class OptionsTests(SynchronousTestCase):
    def chosen(self, **options: Any) -> bool:
        write_log_in_thread(options)
        return bool(options.get("logger"))

    def test_only_for_standard_output(self) -> None:
        write_log_in_thread(None)
        self.assertTrue(self.chosen(nodaemon=1, logfile=None))
        self.assertTrue(callable(namedAny(f"{log_thread.__name__}.observe_in_thread")))
        self.assertTrue(self.chosen(nodaemon=1, logfile="-"))
        self.assertFalse(self.chosen(nodaemon=0, logfile=None))
        self.assertFalse(self.chosen(nodaemon=1, logfile="file"))
        self.assertFalse(self.chosen(nodaemon=1, logfile="", syslog=True))
        options = {"nodaemon": 1, "logger": "mine"}
        write_log_in_thread(options)
        self.assertEqual(options["logger"], "mine")
