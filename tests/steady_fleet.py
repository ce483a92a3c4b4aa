"""Well-behaved devices in a process of their own, which record how long each answer took.

``python -m tests.steady_fleet PORT DEVICES`` registers the devices, attaches one long connection each and says
``ready``. From then on each of them sends a heartbeat or a full upload twice a second. Each line on standard input is
answered with a :class:`Report`, as JSON, of the time since the last one; its end ends the process.
"""

import asyncio
import json
import random
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType

from tests.child import Child
from tests.daemon import REPOSITORY, environment
from tests.plain_device import login, message

__all__ = ["PATIENCE_S", "Report", "SteadyFleet"]

INTERVAL_S = 0.5
PATIENCE_S = 60.0
FULL_UPLOAD = "0103A0" + "00FF" * 80 + "1234"


@dataclass(frozen=True)
class Report:
    """What the devices of a fleet have seen.

    :ivar answers: how many right ones came.
    :ivar p50_ms: half of them came within these milliseconds; counted from when the message was due.
    :ivar faults: wrong answers, none at all, lost connections.
    """

    answers: int
    p50_ms: float
    p99_ms: float
    max_ms: float
    faults: list[str]

    def __str__(self) -> str:
        return f"{self.answers} answers, p50 {self.p50_ms:.1f} ms, p99 {self.p99_ms:.1f} ms, max {self.max_ms:.1f} ms"


class SteadyFleet(Child):
    """The process, seen from the one that starts it. A context manager.

    :param port: of 127.0.0.1, where the devices log in and stay.
    :param devices: how many.
    """

    def __init__(self, port: int, devices: int = 100) -> None:
        self._folder = TemporaryDirectory(prefix="cmmd-fleet-")
        super().__init__(Path(self._folder.name) / "errors")
        words = [sys.executable, "-m", "tests.steady_fleet", str(port), str(devices)]
        self._launch(words, cwd=REPOSITORY, env=environment(), merged=False, piped=True)
        ready = self._line()
        assert ready == "ready", ready

    def __enter__(self) -> "SteadyFleet":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def report(self) -> Report:
        """What they have seen since the last report, or the start."""
        stdin = self._running.stdin
        assert stdin is not None
        stdin.write(b"report\n")
        stdin.flush()
        return Report(**json.loads(self._line()))

    def _line(self) -> str:
        stdout = self._running.stdout
        assert stdout is not None
        line = stdout.readline().decode()
        assert line, f"the fleet ended:\n{self.log}"
        return line.strip()

    def stop(self) -> None:
        """End the process."""
        self.kill()
        self._folder.cleanup()


class _Record:
    """What has been seen since the last report.

    :ivar waiting: since when each device waits for an answer.
    """

    def __init__(self) -> None:
        self.waiting: dict[str, float] = {}
        self._seconds: list[float] = []
        self._faults: list[str] = []

    def answered(self, hostid: str) -> None:
        self._seconds.append(time.monotonic() - self.waiting.pop(hostid))

    def went_wrong(self, hostid: str, what: str) -> None:
        self._faults.append(f"{hostid}: {what}")
        self.waiting.pop(hostid, None)

    async def report(self) -> Report:
        """Wait for the answers that are due, then sum up."""
        asked = time.monotonic()
        while any(since < asked for since in self.waiting.values()):
            await asyncio.sleep(0.01)
        seconds, self._seconds = sorted(self._seconds), []
        faults, self._faults = self._faults, []
        if not seconds:
            return Report(0, 0.0, 0.0, 0.0, faults)
        p50, p99, longest = (1000 * seconds[int(share * (len(seconds) - 1))] for share in (0.5, 0.99, 1))
        return Report(len(seconds), p50, p99, longest, faults)


class _SteadyDevice:
    def __init__(self, port: int, hostid: str, record: _Record) -> None:
        self._port = port
        self._hostid = hostid
        self._record = record
        self._turns = (
            (message("HB", hostid, params=""), b'{"method":"HB","message":"OK","retcode":"000000"}'),
            (message("reqdata", hostid, params=FULL_UPLOAD), b'{"method":"reqdata","message":"OK","retcode":"000000"}'),
        )

    async def attach(self) -> None:
        """Log in, then open the long connection."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        writer.write(login(self._hostid))
        answer = await reader.read()
        assert b'"register":1' in answer, answer
        writer.close()
        self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port)
        self._writer.write(message("LongCon", self._hostid))
        answer = await self._reader.read(1000)
        assert b'"000000"' in answer, answer

    async def live(self) -> None:
        """Send on and on; a device that something went wrong for stops, so that it is seen once."""
        try:
            await self._send_on()
        except (OSError, TimeoutError) as error:
            self._record.went_wrong(self._hostid, repr(error))

    async def _send_on(self) -> None:
        due = time.monotonic() + random.uniform(0, INTERVAL_S)
        while True:
            for sent, expected in self._turns:
                late = time.monotonic() > due
                await asyncio.sleep(max(due - time.monotonic(), 0))
                # A device that was held up counts from when it would have sent, were it not for the one before.
                self._record.waiting[self._hostid] = due if late else time.monotonic()
                self._writer.write(sent)
                answer = await asyncio.wait_for(self._reader.read(1000), PATIENCE_S)
                if answer != expected:
                    self._record.went_wrong(self._hostid, f"{answer!r} instead of {expected!r}")
                    return
                self._record.answered(self._hostid)
                due += INTERVAL_S


async def _main(port: int, count: int) -> None:
    record = _Record()
    devices = [_SteadyDevice(port, f"STEADY{number}", record) for number in range(count)]
    lives = []
    for device in devices:
        await device.attach()
        lives.append(asyncio.create_task(device.live()))  # at once: before its idle timeout
    print("ready", flush=True)
    commands = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(commands), sys.stdin)
    while await commands.readline():
        print(json.dumps(asdict(await record.report())), flush=True)
    for life in lives:
        life.cancel()


if __name__ == "__main__":
    asyncio.run(_main(int(sys.argv[1]), int(sys.argv[2])))
