"""CPU time per message of this checkout beside that of another commit: ``make bench-compare REF=COMMIT``.

``python bench/compare.py COMMIT [--runs N] [--seconds S] [--paced] [--json FILE]``

The commit is checked out into a temporary folder and runs with the same Python and the same packages. Both daemons run
at the same time and take turns under the same load, run by run, each first in every other run: the ratios of the runs
are what counts, and whether they all lie on one side of 1.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bench.bench_peers import KINDS, PACED_RATE, Case, measure, ratios, report
from bench.peers.servers import cmmd, registered
from tests.daemon import REPOSITORY

CONNECTIONS = 100


def git(*arguments: str | Path) -> str:
    done = subprocess.run(["git", "-C", REPOSITORY, *arguments], capture_output=True, text=True, check=True)
    return done.stdout.strip()


@contextmanager
def checked_out(commit: str) -> Iterator[Path]:
    """A commit in a folder of its own, which is gone afterwards."""
    with TemporaryDirectory(prefix="cmmd-compare-") as name:
        folder = Path(name) / "checkout"
        git("worktree", "add", "--detach", folder, commit)
        try:
            yield folder
        finally:
            git("worktree", "remove", "--force", folder)


def main() -> None:
    parser = argparse.ArgumentParser(description="CPU time per message of this checkout and of another commit.")
    parser.add_argument("commit", help="a commit, branch or tag")
    parser.add_argument("--runs", type=int, default=7, help="alternating runs of each kind of message (default 7)")
    parser.add_argument("--seconds", type=float, default=1.0, help="of each run (default 1)")
    parser.add_argument(
        "--paced", action="store_true", help=f"{PACED_RATE} messages a second, not as many as it answers"
    )
    parser.add_argument("--json", type=Path, help="the file that gets every run")
    given = parser.parse_args()
    commit = git("rev-parse", "--short", "--verify", f"{given.commit}^{{commit}}")
    measured = {}
    with TemporaryDirectory() as name, checked_out(commit) as checkout:
        folder = Path(name)
        of_here = registered(folder / "here", CONNECTIONS)
        of_there = registered(folder / "there", CONNECTIONS, checkout=checkout)
        with cmmd(of_here, "here") as here, cmmd(of_there, commit, checkout=checkout) as there:
            for kind in KINDS:
                case: Case = (kind, CONNECTIONS, PACED_RATE if given.paced else 0.0)
                results = measured[kind] = measure((there, here), case, given.runs, given.seconds)
                report(case, results, commit)
                each = ratios(results, "here", commit)
                print(f"  ratios of the runs {min(each):.3f} - {max(each):.3f}: {verdict(each)}", flush=True)
    if given.json:
        given.json.write_text(json.dumps(measured, indent=1) + "\n", encoding="utf-8")


def verdict(each: list[float]) -> str:
    """Say whether all runs agree which one takes less."""
    if max(each) < 1:
        return "less in every run"
    return "more in every run" if min(each) > 1 else "no clear difference"


if __name__ == "__main__":
    main()
