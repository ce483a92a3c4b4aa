"""One process of the fuzzer: ``python -m fuzz.engine TARGET SECONDS FOLDER``.

atheris changes the code of cmmd as it is imported, so that the engine learns which branches an input reaches, and never
returns from its loop: the process ends from within it, with a :class:`Report` in the folder.
"""

import gc
import os
import sys
import traceback
from pathlib import Path
from time import monotonic
from typing import NoReturn

import atheris
import msgspec
from twisted.logger import globalLogBeginner

from fuzz.harness import Steps, Target, WatchedLog, load_scripts, resident_kib, save_scripts, target_kind
from fuzz.report import ESCAPE, REPORT, Report, corpus_file, slow_file

MOST_SLOW = 5
"""Of the slowest inputs so many are kept, with those before them."""

WARM_SHARE = 0.25
"""The part of the time after which memory is looked at for the first time: caches are full by then."""

HANG_S = 20


class _Run:
    """Gives inputs to a target, and takes notes."""

    def __init__(self, name: str, kind: type[Target], seconds: float, folder: Path) -> None:
        self._kind = kind
        self._folder = folder
        self._seconds = seconds
        self._report = Report(target=name)
        self._steps = Steps()
        self._log = WatchedLog()
        self._target: Target | None = None
        self._since: list[bytes] = []  # the inputs of this target, which what follows may depend on
        self._slow: list[tuple[float, list[bytes]]] = []
        self._began = monotonic()

    def take(self, script: bytes) -> None:
        """Give the target one input."""
        if self._target is None:
            self._target = self._kind(self._steps, self._log)
        self._since.append(script)
        self._steps.reset()
        try:
            self._target.run(script)
            self._log.check()
        except Exception:
            self._report.escape = traceback.format_exc()
            save_scripts(self._folder / ESCAPE, self._since)
            self._end(1)
        self._report.inputs += 1
        self._note_time()
        if len(self._since) >= self._kind.INPUTS:
            self._renew()
        if monotonic() - self._began >= self._seconds:
            self._end(0)

    def _note_time(self) -> None:
        took_s = self._steps.longest_s
        self._report.longest_ms = max(self._report.longest_ms, took_s * 1000)
        if len(self._slow) < MOST_SLOW or took_s > self._slow[-1][0]:
            self._slow.append((took_s, list(self._since)))
            self._slow.sort(key=lambda one: -one[0])
            del self._slow[MOST_SLOW:]

    def _renew(self) -> None:
        """End this target; the next input gets a new one."""
        assert self._target is not None, "it has had inputs"
        self._target.close()
        self._target = None
        self._since.clear()
        gc.collect()
        if monotonic() - self._began >= WARM_SHARE * self._seconds:
            report = self._report
            report.last_blocks, report.last_kib = sys.getallocatedblocks(), resident_kib()
            if not report.first_blocks:
                report.first_blocks, report.first_kib = report.last_blocks, report.last_kib

    def _end(self, status: int) -> NoReturn:
        report = self._report
        if self._target is not None:
            self._target.close()
        report.seconds = monotonic() - self._began
        report.steps = self._steps.count
        for number, (_, scripts) in enumerate(self._slow):
            save_scripts(self._folder / slow_file(number), scripts)
        (self._folder / REPORT).write_bytes(msgspec.json.encode(report))
        os._exit(status)


def main(name: str, seconds: str, folder: str) -> None:
    """Fuzz one target for so many seconds. Does not return."""
    work = Path(folder)
    begins_with = work / "corpus"
    begins_with.mkdir()
    globalLogBeginner.beginLoggingTo([], redirectStandardIO=False, discardBuffer=True)
    with atheris.instrument_imports(include=["cmmd"]):
        kind = target_kind(name)
    for number, script in enumerate([*load_scripts(corpus_file(name)), *kind.LARGE]):
        (begins_with / f"{number:04}").write_bytes(script)
    words = work / "words"
    words.write_text("".join(f'"{_escaped(word)}"\n' for word in kind.WORDS), encoding="ascii")
    run = _Run(name, kind, float(seconds), work)
    options = [
        *(sys.argv[0], str(begins_with), f"-dict={words}", f"-max_len={kind.LONGEST}", f"-timeout={HANG_S}"),
        *(f"-artifact_prefix={work}/", "-rss_limit_mb=0", "-print_final_stats=1", "-reload=0"),
    ]
    atheris.Setup(options, run.take)
    gc.collect()
    gc.freeze()
    gc.disable()  # collected between two targets: no part of a step
    atheris.Fuzz()


def _escaped(word: bytes) -> str:
    return "".join(chr(one) if 32 <= one < 127 and one not in b'"\\' else f"\\x{one:02X}" for one in word)


if __name__ == "__main__":
    main(*sys.argv[1:])
