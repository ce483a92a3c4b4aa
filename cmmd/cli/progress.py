"""How far a copy is: bars at a terminal, a line from time to time elsewhere."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from rich.progress import BarColumn, Progress, TaskID, TextColumn

from cmmd.cli.formatting import duration
from cmmd.cli.output import Output
from cmmd.store.tools.copying import Step

__all__ = ["CopyProgress"]

BETWEEN_LINES_S = 10.0
BETWEEN_REFRESHES_S = 0.1

_COLUMNS = (
    TextColumn("{task.description}"),
    BarColumn(),
    TextColumn("{task.fields[count]}", justify="right"),
    TextColumn("{task.fields[pace]}", justify="right"),
)


class _Part:
    """One kind of record in one phase."""

    def __init__(self, step: Step, total: int, done: int, now: float) -> None:
        self.title = f"{step.phase} {step.kind}"
        self.total = total
        self.done = done
        self._begun = done
        self._since = now

    @property
    def count(self) -> str:
        return f"{self.done:,} of {self.total:,}"

    def pace(self, now: float) -> str:
        """How many in a second, and how long it takes yet; empty where nobody can tell yet."""
        if now <= self._since or self.done == self._begun:
            return ""
        rate = (self.done - self._begun) / (now - self._since)
        return f"{rate:,.0f} a second, {duration(max(self.total - self.done, 0) / rate)} left"


class CopyProgress:
    """Hears of the steps of a copy, and shows them.

    :param totals: how many records of each kind there are.
    :param begun: how many of them were copied before.
    :param now: seconds, from any moment on.
    """

    def __init__(
        self, output: Output, totals: Mapping[str, int], begun: Mapping[str, int], now: Callable[[], float]
    ) -> None:
        self._output = output
        self._totals = totals
        self._begun = begun
        self._now = now
        self._parts: dict[tuple[str, str], _Part] = {}
        self._bars: Progress | None = None
        self._tasks: dict[str, TaskID] = {}
        self._told_at = self._shown_at = now()

    @contextmanager
    def shown(self) -> Iterator[None]:
        """While this lasts."""
        with self._output.bars(*_COLUMNS) as self._bars:
            yield

    def tell(self, step: Step) -> None:
        """Something has been done."""
        total = self._totals.get(step.kind)
        if not total:
            return
        part = self._parts.get((step.phase, step.kind))
        if part is None:
            done = self._begun.get(step.kind, 0) if step.phase == "copying" else 0
            part = self._parts[step.phase, step.kind] = _Part(step, total, done, self._told_at)
        part.done += step.records
        now = self._told_at = self._now()
        if self._bars is None:
            if now >= self._shown_at + BETWEEN_LINES_S:
                self._shown_at = now
                self._output.note(f"{part.title}: {part.count}, {part.pace(now)}")
        else:
            self._draw(self._bars, part, now)

    def _draw(self, bars: Progress, part: _Part, now: float) -> None:
        if part.title not in self._tasks:
            self._tasks[part.title] = bars.add_task(part.title, total=part.total, count="", pace="")
        task = self._tasks[part.title]
        bars.update(task, completed=part.done, count=part.count, pace=part.pace(now))
        if now >= self._shown_at + BETWEEN_REFRESHES_S or part.done >= part.total:
            self._shown_at = now
            bars.refresh()
