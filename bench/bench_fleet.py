"""CPU time, answer times and memory with a fleet that uploads all the time, history included.

``python bench/bench_fleet.py [SESSIONS] [UPLOADS] [SECONDS]``, after ``make bench-programs``: by default 1,000
sessions, 333 full uploads a second, measured for 10 s

Devices attach over one history interval, so that what is kept is spread evenly as in a fleet; then figures are taken.
``9000 6667 60`` is the rate of 20,000 devices with a full upload each 3 s, over as many sessions as 20,000 file
descriptors allow for server and load together. The history interval is 60 s, shorter where fewer seconds are measured.
Memory is resident memory, less that of the daemon when the devices are registered and none is attached.
"""

import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bench.peers.servers import cmmd, load, registered, resident_kib

HISTORY_INTERVAL_S = 60.0


def main() -> None:
    given = dict(enumerate(map(int, sys.argv[1:])))
    sessions, rate, seconds = given.get(0, 1_000), given.get(1, 333), given.get(2, 10)
    interval_s = min(HISTORY_INTERVAL_S, float(seconds))
    with TemporaryDirectory() as name:
        folder = registered(Path(name) / "cmmd", sessions)
        with cmmd(folder, history_interval_s=interval_s) as server:
            time.sleep(1)
            registered_kib = resident_kib(server.pid)
            options = {"k": "full", "n": sessions, "r": rate, "c": interval_s, "w": 2, "d": seconds}
            result = load("generator", server, options)
    per_session = (result["resident_kib"] - registered_kib) * 1024 / sessions / 1000
    print(f"{sessions:,} sessions, {rate:,} full uploads a second, history at {interval_s:g} s, {seconds} s measured")
    print(f"  {result['cpu_percent']:.1f} % of a core, {result['cpu_us']:.1f} µs an upload")
    times = (f"{name} {result[key]:.2f} ms" for name, key in (("p50", "p50_ms"), ("p99", "p99_ms"), ("max", "max_ms")))
    print("  answered within", ", ".join(times))
    print(f"  memory {result['resident_kib'] / 1024:.0f} MiB, {per_session:.1f} kB an attached session with its image")


if __name__ == "__main__":
    main()
