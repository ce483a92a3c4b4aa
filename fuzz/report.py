"""What one process of the fuzzer leaves in its folder, and where its inputs come from."""

from pathlib import Path

import msgspec

__all__ = ["ESCAPE", "REPORT", "Report", "corpus_file", "slow_file"]

REPORT, ESCAPE = "report.json", "escape.json"


class Report(msgspec.Struct, kw_only=True):
    """What a run has seen.

    :ivar longest_ms: the longest step, with the engine's own code in it, so two to three times too long.
    :ivar first_blocks: blocks of memory that Python had allocated after a quarter of the time, with nothing under test,
        and :ivar last_blocks: those at the end; 0: the time was too short.
    :ivar escape: the traceback of what escaped; empty: nothing did.
    """

    target: str
    seconds: float = 0.0
    inputs: int = 0
    steps: int = 0
    longest_ms: float = 0.0
    first_blocks: int = 0
    last_blocks: int = 0
    first_kib: int = 0
    last_kib: int = 0
    escape: str = ""


def corpus_file(name: str) -> Path:
    """Return the file with the inputs that a target begins with."""
    return Path(__file__).resolve().parent / "corpus" / f"{name}.json"


def slow_file(number: int | str) -> str:
    """Name the file with one of the slowest inputs."""
    return f"slow-{number}.json"
