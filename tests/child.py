"""A program that a test or a benchmark starts in a process of its own, and the watchdog that ends it with the run.

The variable :data:`RUN` in the environment says to which run a process belongs. Every process that a run starts
inherits the variable, wrapped here or not, and so do the processes that those start. Does not depend on trial.
"""

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any
from uuid import uuid4

__all__ = ["DEADLINE_S", "RUN", "Child", "watch_over_children"]

DEADLINE_S = 90.0
"""How long anything may take before a test gives up; nothing takes so long on a machine that is merely busy."""

RUN = "CMMD_TEST_RUN"

_WATCHDOG = """cat >/dev/null
for _ in 1 2 3 4 5; do
    members=$(grep -lszx -- "$1" /proc/[0-9]*/environ | cut -d/ -f3)
    [ -n "$members" ] || break
    kill -KILL $members 2>/dev/null
    sleep 0.1
done
"""
"""Waits for the end of its input, which is the end of the runner, however the runner ended. A process that has read the
list of its children may start one more, so it looks several times. A parent-death signal (prctl) would not do: it comes
at the end of the thread that forked, and trial ends the reactor's threads after each test."""


@cache
def watch_over_children() -> "subprocess.Popen[bytes] | None":
    """Begin a run: from now on each child of this process ends with this process. None: a run has begun this process.

    Workers of ``trial -j`` belong to the run of the process that started them.
    """
    if RUN in os.environ:
        return None
    os.environ[RUN] = uuid4().hex
    return subprocess.Popen(
        ["/bin/sh", "-c", _WATCHDOG, "watchdog", f"{RUN}={os.environ[RUN]}"],
        stdin=subprocess.PIPE,  # closed in every other process, so that its end is the end of this one
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={"PATH": "/usr/bin:/bin"},  # without RUN: the watchdog is no child of the run
        start_new_session=True,  # Ctrl-C is for the runner
    )


class Child:
    """A program whose output is appended to a file, and that can be started again after its end.

    :param output: the file.
    """

    def __init__(self, output: Path) -> None:
        self._output = output
        self._process: subprocess.Popen[bytes] | None = None
        self._status: int | None = None

    def _launch(
        self,
        words: Sequence[str | Path],
        *,
        cwd: Path,
        env: Mapping[str, str] | None = None,
        merged: bool = True,
        piped: bool = False,
        **options: Any,
    ) -> None:
        """Start the program, and do not wait.

        :param merged: False: standard output goes to a pipe, and standard error alone to the file.
        :param piped: whether standard input is a pipe, or empty.
        :param options: of Popen.
        """
        assert self._process is None, "it is running"
        with self._output.open("ab") as sink:
            self._process = subprocess.Popen(
                words,
                cwd=cwd,
                env=env,
                stdin=subprocess.PIPE if piped else subprocess.DEVNULL,
                stdout=sink if merged else subprocess.PIPE,
                stderr=subprocess.STDOUT if merged else sink,
                **options,
            )

    @property
    def _running(self) -> "subprocess.Popen[bytes]":
        assert self._process is not None, "it is not running"
        return self._process

    @property
    def pid(self) -> int:
        """The process id."""
        return self._running.pid

    @property
    def alive(self) -> bool:
        """Whether the process was started and has not ended."""
        return self._process is not None and self._process.poll() is None

    @property
    def log(self) -> str:
        """All output since the first start."""
        return self._output.read_text(encoding="utf-8", errors="replace") if self._output.exists() else ""

    def assert_alive(self) -> None:
        """See that the process has not ended.

        :raises AssertionError: with its status and output.
        """
        assert self._running.poll() is None, f"ended with status {self._running.returncode}:\n{self.log}"

    def terminate(self, number: signal.Signals = signal.SIGTERM) -> int:
        """End the process as an operator does. Nothing happens where it has ended.

        :return: the exit status.
        """
        if self._process is not None:
            self._process.send_signal(number)
        return self.ended()

    def kill(self) -> None:
        """End the process as a power cut does. Nothing happens where it is not running."""
        if self._process is not None:
            self._process.kill()
            self.ended()

    def ended(self) -> int:
        """Wait for the end of the process, and kill it where the end does not come.

        :return: the exit status.
        :raises subprocess.TimeoutExpired: it had to be killed.
        """
        if self._process is None:
            assert self._status is not None, "it was never started"
            return self._status
        try:
            self._status = self._process.wait(DEADLINE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._status = self._process.wait()
            raise
        finally:
            for stream in (self._process.stdin, self._process.stdout):
                if stream is not None:
                    stream.close()
            self._process = None
        return self._status
