"""Logins of a whole fleet after a restart of the server, and answer times of uploads meanwhile.

``python bench/bench_logins.py [DEVICES] [UPLOADING]``, after ``make bench-programs``; 3,000 and 500 by default

All devices come within a few seconds, as after a power cut or an update of the server. Each password costs one scrypt;
a device that is told to try again, or has no answer within 20 s, comes again after 5 to 7.5 s. Meanwhile others, which
are attached already, send a full upload each 3 s. Server and load share all cores. Then all log in once more, with
passwords that are remembered. What the reactor's thread takes for a login is without what those uploads take of it.
"""

import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bench.peers.servers import CORES, Server, cmmd, load, main_thread_seconds, registered, result_of, start_load

ARRIVE_S, AGAIN_S, PATIENCE_S = 5, 5, 20
PERIOD_S = 3.0
LONGEST_S = 300


class Used:
    """The CPU time that the reactor's thread has used since this was made, and how long that is ago."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._used, self._at = main_thread_seconds(server.pid), time.monotonic()

    def beyond(self, share: float) -> float:
        """Seconds of CPU more than this share of the time."""
        return main_thread_seconds(self._server.pid) - self._used - share * (time.monotonic() - self._at)

    @property
    def share(self) -> float:
        """The CPU time as a share of the time."""
        return (main_thread_seconds(self._server.pid) - self._used) / (time.monotonic() - self._at)


def report(result: dict[str, Any], main_ms: float) -> None:
    """Print the results of all logins."""
    print(
        f"{result['devices']:,} devices logged in within {result['seconds']:.1f} s,",
        f"{result['cpu_ms']:.2f} ms of the server's CPU each, {main_ms:.2f} of them the reactor's;",
        f"told to try again {result['refused']:,}, without an answer in time {result['timed_out']:,},",
        f"at most {result['most_attempts']} attempts; answered within p50 {result['p50_ms'] / 1e3:.1f} s,",
        f"p99 {result['p99_ms'] / 1e3:.1f} s; {result['resident_kib'] / 1024:.0f} MB",
        flush=True,
    )


def uploads_of(uploading: int, seconds: float) -> dict[str, object]:
    """The options of the load of those who upload."""
    return {"n": uploading, "k": "full", "r": uploading / PERIOD_S, "d": seconds}


def come_back(server: Server, devices: int, uploading: int) -> None:
    """Let all devices log in while others upload, and once more."""
    used = Used(server)
    alone = load("generator", server, uploads_of(uploading, 5), cores=CORES)
    share = used.share
    options: dict[str, object] = {"n": devices, "a": ARRIVE_S, "b": AGAIN_S, "t": PATIENCE_S, "x": LONGEST_S}
    say("before", alone)
    for when in ("while passwords are computed", "while passwords are remembered"):
        uploads = start_load("generator", server, uploads_of(uploading, LONGEST_S), cores=CORES)
        time.sleep(2)
        used = Used(server)
        result = load("logins", server, options, cores=CORES)
        report(result, used.beyond(share) / devices * 1000)
        uploads.terminate()
        say(when, result_of(uploads))


def say(when: str, result: dict[str, Any]) -> None:
    """Print the answer times of uploads."""
    print(
        f"uploads of others {when}: p50 {result['p50_ms']:.1f} ms, p99 {result['p99_ms']:.1f} ms,",
        f"longest {result['max_ms']:.0f} ms, {result['messages']:,} messages",
        flush=True,
    )


def main() -> None:
    devices = int(sys.argv[1]) if len(sys.argv) > 1 else 3_000
    uploading = int(sys.argv[2]) if len(sys.argv) > 2 else 500
    with TemporaryDirectory() as name, cmmd(registered(Path(name) / "cmmd", devices), cores=CORES) as server:
        come_back(server, devices, uploading)


if __name__ == "__main__":
    main()
