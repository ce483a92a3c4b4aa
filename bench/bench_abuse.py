"""How long well-behaved devices wait for their answers while others abuse the server; 100 ms at p99 is the bound.

``python bench/bench_abuse.py``
"""

import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # the tests are not installed

from tests.abuse import ABUSES, CONFIGURATION
from tests.daemon import Daemon
from tests.steady_fleet import Report, SteadyFleet

CALM_S = 4.0
BOUND_MS = 100.0


def line(what: str, report: Report, seconds: float, resident_kib: int) -> str:
    times = f"{report.p50_ms:>9.1f}{report.p99_ms:>9.1f}{report.max_ms:>9.1f}"
    remark = " too slow" if report.p99_ms > BOUND_MS else ""
    faults = f" {len(report.faults)} FAULTS: {report.faults[0]}" if report.faults else ""
    return f"{what:<28}{seconds:>7.1f}{report.answers:>9}{times}{resident_kib / 1024:>9.1f}{remark}{faults}"


def main() -> None:
    print("100 devices, a message each every 0.5 s; milliseconds to the answer; memory of the daemon in MiB")
    print(f"{'beside':<28}{'s':>7}{'answers':>9}{'p50':>9}{'p99':>9}{'max':>9}{'memory':>9}")
    with TemporaryDirectory() as folder:
        daemon = Daemon(Path(folder), CONFIGURATION).start()
        try:
            with SteadyFleet(daemon.port) as fleet:
                fleet.report()
                time.sleep(CALM_S)
                print(line("nothing", fleet.report(), CALM_S, daemon.resident_kib))
                for abuse in ABUSES:
                    started = time.monotonic()
                    abuse(daemon.port)
                    seconds = time.monotonic() - started
                    what = abuse.__name__.replace("_", " ")
                    print(line(what, fleet.report(), seconds, daemon.resident_kib), flush=True)
        finally:
            daemon.kill()


if __name__ == "__main__":
    main()
