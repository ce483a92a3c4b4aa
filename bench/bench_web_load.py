"""How long devices wait for their answers while people and Prometheus look at 5,000 gensets.

``python bench/bench_web_load.py [DEVICES [SECONDS]]`` (default 5000 and 30; it takes about three minutes)

A real daemon and ``cmm-sim``; 100 more devices measure. First nobody looks; then three consoles follow the fleet, one
is opened anew every second, so does a program list devices, and Prometheus scrapes both addresses every 5 s. As root
the daemon and the devices that measure go before everything else on this machine, as if the others were on machines of
their own; otherwise a few cores shared by all of them are what is measured.
"""

import gzip
import os
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.request import Request, urlopen

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tests.daemon import Daemon, endpoint, prefer, service_port
from tests.fleet_process import FleetProcess
from tests.steady_fleet import SteadyFleet

START_S = 120.0
SETTLE_S = 10.0
PATIENCE_S = 30.0


class Onlookers:
    """People and programs, each in a thread.

    :ivar times: seconds that each kind of question took.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._over = threading.Event()
        self._threads: list[threading.Thread] = []
        self.times: dict[str, list[float]] = {}

    def begin(self) -> None:
        for _ in range(3):
            self._start(self._follow)
        for name, path, every_s in (
            ("the fleet", "/api/v1/fleet", 1.0),
            ("a list", "/api/v1/devices?limit=100", 1.0),
            ("/metrics", "/metrics", 5.0),
            ("/metrics/devices", "/metrics/devices", 5.0),
        ):
            self._start(partial(self._ask_on, name, path, every_s))

    def end(self) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join(PATIENCE_S)

    def _start(self, work: Callable[[], None]) -> None:
        self._threads.append(threading.Thread(target=work, daemon=True))
        self._threads[-1].start()

    def _follow(self) -> None:
        with urlopen(f"{self._url}/api/v1/events?live=true", timeout=PATIENCE_S) as stream:
            while not self._over.is_set():
                stream.read1(65536)

    def _ask_on(self, name: str, path: str, every_s: float) -> None:
        times = self.times.setdefault(name, [])
        while not self._over.wait(every_s):
            began = time.monotonic()
            with urlopen(Request(self._url + path, headers={"Accept-Encoding": "gzip"}), timeout=PATIENCE_S) as answer:
                said = answer.read()
                if answer.headers.get("Content-Encoding") == "gzip":
                    said = gzip.decompress(said)
            assert said
            times.append(time.monotonic() - began)


def cpu_s(process: int) -> float:
    """CPU time of a process so far, in seconds."""
    fields = Path(f"/proc/{process}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main() -> None:
    devices, seconds = (int(value) for value in (*sys.argv[1:], *("5000", "30")[len(sys.argv) - 1 :]))
    with TemporaryDirectory() as name:
        folder = Path(name)
        port = service_port()
        daemon = Daemon(folder, {"web": {"listen": [endpoint(port)]}})
        daemon.start([daemon.port, port])
        fleet = FleetProcess(folder, daemon.port, devices)
        try:
            fleet.wait_until_all_are(True, START_S)
            with SteadyFleet(daemon.port) as steady:
                prefer(daemon.pid, 1)
                prefer(steady.pid, 2)
                onlookers = Onlookers(f"http://127.0.0.1:{port}")
                for what, before in (("nobody looks", lambda: None), ("people look", onlookers.begin)):
                    before()
                    time.sleep(SETTLE_S)
                    steady.report()
                    spent, began = cpu_s(daemon.pid), time.monotonic()
                    time.sleep(seconds)
                    report = steady.report()
                    share = (cpu_s(daemon.pid) - spent) / (time.monotonic() - began)
                    faults = f"{len(report.faults)} faults"
                    print(f"{what}: {100 * share:.0f} % of a core, {report} (p99: 50 are allowed), {faults}")
                onlookers.end()
            for what, times in onlookers.times.items():
                times.sort()
                median = times[len(times) // 2]
                print(f"  {what:<18} {len(times):>3} times, median {median:.3f} s, longest {times[-1]:.3f} s")
        finally:
            fleet.terminate()
            daemon.kill()


if __name__ == "__main__":
    main()
