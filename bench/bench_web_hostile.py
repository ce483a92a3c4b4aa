"""How long devices wait for their answers beside 8 hostile HTTP connections; 250 ms at p99 is the bound.

``python bench/bench_web_hostile.py [SECONDS [NAME...]]`` (default 3 s for each attack, all of them)

A real daemon with a token, 100 devices that send a message every 0.5 s, and 8 clients without the token, each of which
connects, sends an attack of ``tests.hostile_http`` as fast as the daemon takes it, reads the first bytes of an answer,
closes and connects again. The clients run in a process of their own. As root the daemon and the devices go before
everything else on this machine: otherwise a few cores shared by all of them are what is measured.

Exits with 1 where a p99 is over the bound, or a device was answered wrongly or lost its connection.
"""

import multiprocessing
import socket
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from multiprocessing.sharedctypes import Synchronized
from pathlib import Path
from tempfile import TemporaryDirectory

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from cmmd.fleet.service.tokens import Tokens
from tests.daemon import Daemon, endpoint, prefer, service_port
from tests.hostile_http import ATTACKS, FLOODS
from tests.steady_fleet import Report, SteadyFleet

CONNECTIONS = 8
BOUND_MS = 250.0
PATIENCE_S = 2.0
CHUNK = 64 * 1024


def attack(port: int, request: bytes, until: float, sent: "Synchronized[int]") -> None:
    """Send a request on one connection after the other, and count the connections."""
    while time.monotonic() < until:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), PATIENCE_S) as connection:
            with suppress(OSError):
                connection.sendall(request)
            with sent.get_lock():
                sent.value += 1
            connection.settimeout(0.1)
            connection.recv(CHUNK)


def attack_all(port: int, request: bytes, seconds: float, sent: "Synchronized[int]") -> None:
    """Do so on all connections."""
    until = time.monotonic() + seconds
    threads = [threading.Thread(target=attack, args=(port, request, until, sent)) for _ in range(CONNECTIONS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def exit_status(reports: Sequence[Report]) -> int:
    """Judge a run: 0 where every p99 is within the bound and no device saw a fault, else 1."""
    return int(any(report.p99_ms > BOUND_MS or report.faults for report in reports))


def main() -> int:
    """Print a row for each attack.

    :return: the exit status.
    """
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 3.0
    everything = {**ATTACKS, **FLOODS}
    names = sys.argv[2:] or list(everything)
    print(f"100 devices beside {CONNECTIONS} hostile HTTP connections; milliseconds to the answer; bytes of log")
    print(f"{'attack':<28}{'sent':>7}{'answers':>9}{'p50':>9}{'p99':>9}{'max':>9}{'log':>10}")
    with TemporaryDirectory() as folder:
        port = service_port()
        daemon = Daemon(Path(folder), {"web": {"listen": [endpoint(port)]}})
        daemon.state.mkdir()
        Tokens(daemon.state).add("operator", "operator")
        daemon.start([daemon.port, port])
        reports, sent = list[Report](), multiprocessing.Value("l")
        try:
            with SteadyFleet(daemon.port) as fleet:
                prefer(daemon.pid, 1)
                prefer(fleet.pid, 2)
                for name in ("(nothing)", *names):
                    fleet.report()
                    logged, sent.value = len(daemon.log), 0
                    if name in everything:
                        arguments = (port, everything[name], seconds, sent)
                        attackers = multiprocessing.Process(target=attack_all, args=arguments)
                        attackers.start()
                        attackers.join()
                    else:
                        time.sleep(seconds)
                    report = fleet.report()
                    reports.append(report)
                    times = f"{report.p50_ms:>9.1f}{report.p99_ms:>9.1f}{report.max_ms:>9.1f}"
                    remark = " too slow" if report.p99_ms > BOUND_MS else ""
                    faults = f" {len(report.faults)} FAULTS: {report.faults[0]}" if report.faults else ""
                    lines = daemon.log[logged:].splitlines()
                    said = sum(len(line) for line in lines if "STEADY" not in line)  # the devices' CRCs are wrong
                    print(f"{name:<28}{sent.value:>7}{report.answers:>9}{times}{said:>10}{remark}{faults}", flush=True)
        finally:
            daemon.kill()
    print(f"highest p99: {max(report.p99_ms for report in reports):.0f} ms ({BOUND_MS:.0f} are allowed)")
    return exit_status(reports)


if __name__ == "__main__":
    sys.exit(main())
