"""PostgreSQL stops under a fleet and starts again: what was lost or doubled, how long the backlog lasted.

``python bench/bench_outage.py [DEVICES [SECONDS]]`` (default 2000 and 60; it takes about seven minutes)

A real server, stopped with ``immediate``, a real daemon, and devices in one thread, each of which uploads a full set
every 3.15 s, which is kept, and waits for its answer. Twice: the second time the daemon is killed in the middle of the
outage, and started again before the database is there.
"""

import sys
from pathlib import Path
from tempfile import TemporaryDirectory

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tests.outage import Outage
from tests.postgres import PostgresServer

INTERVAL_S = 3.0
AROUND_S = 20.0
DEADLINE_S = 300.0


def main() -> None:
    devices, seconds = (int(value) for value in (*sys.argv[1:], *("2000", "60")[len(sys.argv) - 1 :]))
    for kill in (False, True):
        what = ", cmmd killed meanwhile" if kill else ""
        print(f"{devices} devices, PostgreSQL away for {seconds} s{what}")
        server = PostgresServer().start()
        with TemporaryDirectory() as folder:
            outage = Outage(Path(folder), server, devices, INTERVAL_S)
            try:
                report = outage.run(AROUND_S, seconds, AROUND_S, kill=kill, deadline_s=DEADLINE_S)
            finally:
                outage.daemon.kill()
                server.remove()
        for name in report.__dataclass_fields__:
            print(f"  {name:<20}{getattr(report, name):>12,.10g}")


if __name__ == "__main__":
    main()
