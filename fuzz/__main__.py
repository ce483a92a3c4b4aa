"""Run the fuzzer and judge what was found: ``python -m fuzz [TARGET...] [--seconds N] [--keep FOLDER]``.

Each target runs in a process of its own, as many at once as there are cores. The slowest inputs that were found are
repeated in this process without the engine's own code, and the least time of each step counts.

``--replay FILE`` gives a target the inputs of a file: those that an escape was saved with.

Exit status 1: something escaped, or with ``--bound-ms`` a step is over the bound, or memory has grown.
"""

import argparse
import os
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec
from twisted.logger import globalLogBeginner

from fuzz.harness import TARGETS, load_scripts, replay, target_kind
from fuzz.report import REPORT, Report, slow_file

__all__ = ["Outcome", "fuzz", "main", "run_engine"]

MOST_GROWTH = 0.02
"""The part by which the blocks of memory that Python has allocated may grow over three quarters of a run."""

RUNS = 5
LAUNCH_S = 600
"""Seconds that an engine may take beside its time: it imports everything first, on a machine that may be busy."""


class Outcome(msgspec.Struct, kw_only=True):
    """What has become of one target.

    :ivar fault: why the run failed; empty: nothing escaped. :ivar longest_ms: the longest step without the engine.
    """

    report: Report
    fault: str
    reached: str
    longest_ms: float = 0.0

    @property
    def growth(self) -> float:
        """The part by which the blocks of memory have grown."""
        first = self.report.first_blocks
        return (self.report.last_blocks - first) / first if first else 0.0

    def __str__(self) -> str:
        report = self.report
        return (
            f"{report.target:<10}{report.inputs:>10,} inputs {report.steps:>11,} steps in {report.seconds:>4.0f} s,"
            f" longest {self.longest_ms:.1f} ms, blocks {report.first_blocks:,} -> {report.last_blocks:,},"
            f" resident {report.first_kib // 1024} -> {report.last_kib // 1024} MB, {self.reached or 'no coverage'}"
        )


def fuzz(name: str, seconds: float, folder: Path) -> Outcome:
    """Run the engine with one target, and measure the slowest inputs again.

    :param folder: an empty one, for whatever the engine leaves.
    """
    outcome = run_engine(name, seconds, folder)
    outcome.longest_ms = longest_ms(name, folder)
    return outcome


def run_engine(name: str, seconds: float, folder: Path) -> Outcome:
    """Run the engine with one target.

    :param folder: an empty one, for whatever the engine leaves.
    """
    output = folder / "output"
    with output.open("wb") as file:
        engine = subprocess.run(
            [sys.executable, "-m", "fuzz.engine", name, str(seconds), str(folder)],
            cwd=Path(__file__).resolve().parent.parent,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            timeout=seconds + LAUNCH_S,
            check=False,
        )
    said = output.read_text(encoding="utf-8", errors="replace")
    report, fault = Report(target=name), ""
    if (folder / REPORT).exists():
        report = msgspec.json.decode((folder / REPORT).read_bytes(), type=Report)
        fault = report.escape
    else:
        fault = f"the engine ended with status {engine.returncode}:\n{said[-4000:]}"
    found = [line.split("cov: ")[1] for line in said.splitlines() if "\tcov: " in line or " cov: " in line]
    reached = "branches " + found[-1].split(" ft:")[0] if found else ""
    return Outcome(report=report, fault=fault, reached=reached)


def longest_ms(name: str, folder: Path) -> float:
    """Repeat the slowest inputs, as often as it takes for other work of the machine not to count."""
    longest = 0.0
    kind = target_kind(name)
    for path in sorted(folder.glob(slow_file("*"))):
        scripts = load_scripts(path)
        times = [replay(kind, scripts) for _ in range(RUNS)]
        longest = max(longest, *(min(step) for step in zip(*times, strict=False)), 0.0)
    return longest * 1000


def main(arguments: Sequence[str]) -> int:
    """Run what the command line says.

    :return: the exit status.
    """
    parser = argparse.ArgumentParser(prog="python -m fuzz")
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"of {', '.join(TARGETS)}; all without any")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--keep", type=Path, help="an empty folder for what the engine leaves")
    parser.add_argument("--replay", type=Path, help="a file with inputs, for one target")
    parser.add_argument("--bound-ms", type=float, help="milliseconds that a step may take; memory must be flat, too")
    options = parser.parse_args(arguments)
    targets = options.targets or TARGETS
    if unknown := set(targets) - set(TARGETS):
        parser.error(f"no such target: {', '.join(sorted(unknown))}")
    globalLogBeginner.beginLoggingTo([], redirectStandardIO=False, discardBuffer=True)
    if options.replay is not None:
        times = replay(target_kind(targets[0]), load_scripts(options.replay))
        print(f"nothing escaped; {len(times)} steps, the longest took {max(times) * 1000:.1f} ms")
        return 0
    with (
        nullcontext(options.keep) if options.keep else TemporaryDirectory() as folder,
        ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool,
    ):
        places = [Path(folder) / name for name in targets]
        for place in places:
            place.mkdir(parents=True)
        running = [
            pool.submit(run_engine, name, options.seconds, place) for name, place in zip(targets, places, strict=True)
        ]
        outcomes = [one.result() for one in running]
        for outcome, place in zip(outcomes, places, strict=True):
            outcome.longest_ms = longest_ms(outcome.report.target, place)
    failed = False
    for outcome in outcomes:
        print(outcome)
        faults = [outcome.fault] if outcome.fault else []
        if options.bound_ms is not None:
            faults += _beyond(outcome, options.bound_ms)
        for fault in faults:
            print(f"{outcome.report.target} FAILED: {fault}")
        failed = failed or bool(faults)
    return int(failed)


def _beyond(outcome: Outcome, bound_ms: float) -> list[str]:
    found = []
    if outcome.longest_ms > bound_ms:
        found.append(f"a step takes {outcome.longest_ms:.1f} ms, {bound_ms:g} are allowed")
    if outcome.growth > MOST_GROWTH:
        found.append(f"blocks of memory have grown by {outcome.growth:.1%}")
    return found


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
