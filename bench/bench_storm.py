"""How long a thousand simulated devices take to come online, and to come back after the daemon was killed.

``python bench/bench_storm.py``

The daemon, with its embedded store, and the devices share this machine; the fleet's own count, told once a second, is
the measure. Every device's password is hashed when it registers and checked when it comes back to a daemon that is new.
"""

import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tests.daemon import Daemon
from tests.fleet_process import FleetProcess

DEVICES = 1000
DEADLINE_S = 120.0


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        daemon = Daemon(Path(folder)).start()
        started = time.monotonic()
        fleet = FleetProcess(Path(folder), daemon.port, DEVICES)
        try:
            fleet.wait_until_all_are(online=True, deadline_s=DEADLINE_S)
            print(f"{DEVICES} devices, seconds from the start of their process until all are online".ljust(80), end="")
            print(f"{time.monotonic() - started:6.1f}")
            daemon.kill()
            fleet.wait_until_all_are(online=False, deadline_s=DEADLINE_S)
            daemon.start()
            started = time.monotonic()
            fleet.wait_until_all_are(online=True, deadline_s=DEADLINE_S)
            print("after kill -9, seconds from the daemon's new start until all are back".ljust(80), end="")
            print(f"{time.monotonic() - started:6.1f}")
            started = time.monotonic()
            daemon.terminate()
            print("seconds from SIGTERM until the daemon with all its sessions has ended".ljust(80), end="")
            print(f"{time.monotonic() - started:6.1f}")
        finally:
            daemon.kill()
            fleet.terminate()


if __name__ == "__main__":
    main()
