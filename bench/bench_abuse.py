"""How long well-behaved devices wait for their answers while others abuse the server, and how fast its log grows.

``python bench/bench_abuse.py`` ends with 1 where 1 % of the answers took longer than 250 ms, one took longer than a
second, a device saw a fault, or the log grew by more than 10 KB/s; 300 KB at once are allowed. For an idle machine.
"""

import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # the tests are not installed

from tests.abuse import ABUSES, CONFIGURATION
from tests.abuse_of_doors import DOOR_ABUSES
from tests.daemon import Daemon
from tests.steady_fleet import Report, SteadyFleet

CALM_S = 4.0
BOUND_MS, LONGEST_MS = 250.0, 1000.0
LOG_A_SECOND, LOG_AT_ONCE = 10_000, 300_000


def faults_of(report: Report, seconds: float, logged: int) -> list[str]:
    """What was not as it has to be beside an abuse."""
    found = []
    if report.p99_ms > BOUND_MS or report.max_ms > LONGEST_MS:
        found.append("TOO SLOW")
    if logged > LOG_AT_ONCE + LOG_A_SECOND * seconds:
        found.append("TOO MUCH LOGGED")
    if report.faults:
        found.append(f"{len(report.faults)} FAULTS: {report.faults[0]}")
    return found


def line(what: str, report: Report, seconds: float, resident_kib: int, logged: int) -> str:
    times = f"{report.p50_ms:>9.1f}{report.p99_ms:>9.1f}{report.max_ms:>9.1f}"
    remarks = " ".join(["", *faults_of(report, seconds, logged)])
    memory, log = resident_kib / 1024, logged / 1000
    return f"{what:<28}{seconds:>7.1f}{report.answers:>9}{times}{memory:>9.1f}{log:>8.1f}{remarks}"


def main() -> int:
    print("100 devices, a message each every 0.5 s; milliseconds to the answer; the daemon's memory in MiB, log in KB")
    print(f"{'beside':<28}{'s':>7}{'answers':>9}{'p50':>9}{'p99':>9}{'max':>9}{'memory':>9}{'log':>8}")
    failed = 0
    with TemporaryDirectory() as folder:
        daemon = Daemon(Path(folder), CONFIGURATION).start()
        try:
            with SteadyFleet(daemon.port) as fleet:
                fleet.report()
                time.sleep(CALM_S)
                print(line("nothing", fleet.report(), CALM_S, daemon.resident_kib, 0))
                for abuse in (
                    *DOOR_ABUSES,
                    *ABUSES,
                ):  # the last ones of these leave thousands of connections to be closed
                    before, started = len(daemon.log), time.monotonic()
                    abuse(daemon.port)
                    seconds = time.monotonic() - started
                    report, logged = fleet.report(), len(daemon.log) - before
                    failed += bool(faults_of(report, seconds, logged))
                    what = abuse.__name__.replace("_", " ")
                    print(line(what, report, seconds, daemon.resident_kib, logged), flush=True)
        finally:
            daemon.kill()
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
