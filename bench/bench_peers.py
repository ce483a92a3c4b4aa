"""CPU time of cmmd per message, beside servers that only parse and answer, on the same machine in the same minutes.

``python bench/bench_peers.py [--all | --connections N... --load saturated paced] [--runs N] [--seconds S]
[--json FILE]``, after ``make bench-programs``

cmmd runs as it is shipped, all of its work included: telemetry, alarms, history, store. Its peers answer by the method
of a message, without looking at it: in C, on Node, on Twisted, and on a Twisted with everything left out that can be.
All run at the same time, and take turns under load, run by run, so that whatever else the machine does meets each of
them; figures are medians, and ratios are medians of the ratios within a run. The generator checks every answer. With
``--all`` also 1,000 and 10,000 connections, and paced load. docs/performance.md has the method and figures.
"""

import argparse
import json
import platform
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bench.peers.servers import CORES, Server, cmmd, load, load_average, reference, registered

REFERENCES = ("C", "Twisted, tuned", "Node", "Twisted")
KINDS = ("heartbeat", "full", "change", "mixed")
CONNECTIONS = (100, 1_000, 10_000)
LOADS = ("saturated", "paced")
PACED_RATE = 2_000
"""Messages a second of a paced load; from 6,000 connections on, one each 3 s of every one of them, as devices do."""
PERIOD_S = 3.0
QUIET_LOAD = 0.7

Runs = dict[str, list[dict[str, Any]]]
"""The results of all runs of each server, by its name."""

Case = tuple[str, int, float]
"""A kind of message, connections, and messages a second; 0: as many as the server answers."""


def cases(counts: Sequence[int], loads: Sequence[str]) -> list[Case]:
    """List what is measured.

    :param counts: of connections. :param loads: ``saturated``, ``paced``.
    """
    saturated: list[Case] = [(kind, count, 0.0) for count in counts for kind in KINDS]
    paced = [(kind, count, max(PACED_RATE, count / PERIOD_S)) for count in counts for kind in KINDS]
    return (saturated if "saturated" in loads else []) + (paced if "paced" in loads else [])


def measure(servers: Sequence[Server], case: Case, runs: int, seconds: float) -> Runs:
    """Alternating runs of one case; every other round begins with the last server, so that none is always first."""
    kind, connections, rate = case
    options = {"k": kind, "n": connections, "r": rate, "d": seconds}
    results: Runs = {server.name: [] for server in servers}
    for number in range(runs):
        for server in servers if number % 2 == 0 else reversed(servers):
            results[server.name].append(load("generator", server, options))
            server.settle()
    return results


def ratios(results: Runs, name: str, base: str) -> list[float]:
    """CPU time of one server in that of another one, run by run."""
    return [one["cpu_us"] / other["cpu_us"] for one, other in zip(results[name], results[base], strict=True)]


def report(case: Case, results: Runs, base: str) -> None:
    """Print a case: medians, lowest and highest of the CPU time, and the ratio to a base."""
    kind, connections, rate = case
    print(f"{kind}, {connections:,} connections, {f'{rate:,.0f} a second' if rate else 'saturated'}")
    for name, runs in results.items():
        used = [run["cpu_us"] for run in runs]
        per_second, p50, p99 = (median(run[what] for run in runs) for what in ("per_second", "p50_ms", "p99_ms"))
        print(
            f"  {name:<16}{median(used):8.2f} µs [{min(used):6.2f} - {max(used):6.2f}]",
            f"{median(ratios(results, name, base)):5.2f} x {base}",
            f"{per_second:8,.0f}/s  p50 {p50:8.2f} ms  p99 {p99:8.2f} ms",
            sep="  ",
            flush=True,
        )


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="CPU time of cmmd per message, beside servers that parse and answer.")
    parser.add_argument("--all", action="store_true", help="100, 1,000 and 10,000 connections, saturated and paced")
    parser.add_argument("--connections", type=int, nargs="+", default=[CONNECTIONS[0]], help="how many (default 100)")
    parser.add_argument("--load", nargs="+", default=["saturated"], choices=LOADS, help="(default saturated)")
    parser.add_argument("--runs", type=int, default=3, help="alternating runs of each case (default 3)")
    parser.add_argument("--seconds", type=float, default=1.0, help="of each run (default 1)")
    parser.add_argument("--json", type=Path, help="the file that gets every run")
    return parser.parse_args()


def main() -> None:
    given = arguments()
    wanted = cases(CONNECTIONS, LOADS) if given.all else cases(given.connections, given.load)
    quiet = load_average() < QUIET_LOAD
    measured = []
    print(f"µs of CPU a message, sockets included; {len(CORES)} cores, Python {platform.python_version()}")
    if not quiet:
        print(f"this machine is not quiet (load {load_average():.1f}): compare ratios, do not quote figures")
    with TemporaryDirectory() as name, ExitStack() as running:
        folder = Path(name)
        devices = max(connections for _, connections, _ in wanted)
        daemon = running.enter_context(cmmd(registered(folder / "cmmd", devices)))
        servers = [*(running.enter_context(reference(one, folder)) for one in REFERENCES), daemon]
        for case in wanted:
            results = measure(servers, case, given.runs, given.seconds)
            report(case, results, "Node")
            measured.append({"kind": case[0], "connections": case[1], "rate": case[2], "runs": results})
    if given.json:
        machine = {"cores": len(CORES), "python": platform.python_version(), "kernel": platform.release()}
        given.json.parent.mkdir(parents=True, exist_ok=True)
        given.json.write_text(
            json.dumps({"machine": machine | {"quiet": quiet}, "cases": measured}, indent=1) + "\n", encoding="utf-8"
        )


if __name__ == "__main__":
    main()
