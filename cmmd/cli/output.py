"""Write to the terminal, as JSON or as CSV, show the progress of a copy, and ask the operator."""

import csv
import io
import os
import termios
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from tempfile import TemporaryFile
from typing import Any, TextIO

import msgspec
from msgspec import Struct
from rich.console import Console, RenderableType
from rich.progress import BarColumn, Progress, ProgressColumn, TaskID, TextColumn
from rich.text import Text
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReadDescriptor
from twisted.python.failure import Failure
from zope.interface import implementer

from cmmd.cli.exit_status import Ends, ExitStatus
from cmmd.cli.formatting import Columns, duration, plain, table, text_lines, utc_text
from cmmd.fleet.service.records import ReadingRow
from cmmd.store.tools.copying import Step

__all__ = ["CopyProgress", "Output", "ask", "can_ask", "write_readings_csv"]


WIDEST = 10_000
"""Columns of what is no terminal: nothing is cut or folded there."""

NOT_RECORDED = "not recorded yet: the store does not answer. If cmmd is killed before it does, this may be lost"

MOST_DRAWN = 500
"""Rows of a table that is drawn: it takes long, because every cell is measured and folded."""


class Output:
    """The terminal or pipe that all output of a call is written to.

    :param out: results; :param err: the rest.
    :ivar json: results, and why there are none, are JSON.
    :ivar console: for people's results.
    """

    def __init__(self, out: TextIO, err: TextIO) -> None:
        self.json = False
        self._out = out
        self._err = err
        self.console = _console(out)
        self._errors = _console(err)

    @property
    def is_screen(self) -> bool:
        """Tell whether results go to a terminal that can be drawn on."""
        return self._out.isatty() and not self.console.is_dumb_terminal

    @property
    def can_show_questions(self) -> bool:
        """Tell whether the operator sees what does not go to the results."""
        return self._err.isatty()

    def speak_json(self) -> None:
        """Be read by programs, whatever this machine's language is."""
        self.json = True
        if hasattr(self._out, "reconfigure"):
            self._out.reconfigure(encoding="utf-8")

    # --- results -----------------------------------------------------------------------------------------------------

    def show(self, record: object, people: Callable[[], RenderableType], *, unrecorded: bool = False) -> None:
        """One result: a JSON document, or what people read; ``unrecorded``: and that it is not durable yet."""
        if self.json:
            self.line({**msgspec.to_builtins(record, str_keys=True), "recorded": False} if unrecorded else record)
        else:
            self.console.print(people())
            if unrecorded:
                self.console.print(NOT_RECORDED)
        self._out.flush()

    def line(self, record: object) -> None:
        """A line of JSON."""
        self._out.write(msgspec.json.encode(record).decode() + "\n")
        self._out.flush()

    def text(self, text: str) -> None:
        """A line for people."""
        self._out.write(plain(text) + "\n")
        self._out.flush()

    def raw(self, text: str) -> None:
        """Text as it is."""
        self._out.write(text)

    async def records(
        self, found: AsyncIterator[Struct], columns: Columns, *, limit: int | None = None, lines: bool = False
    ) -> None:
        """A list: a table; or a JSON list with one record a line; or, with ``lines``, JSON lines.

        :param limit: how many at most; None: all.
        """
        if not self.json:
            await self._table(found, columns, limit)
        elif lines:
            async for record in _first(found, limit):
                self.line(record)
        else:
            await self._list(found, limit)

    async def _table(self, found: AsyncIterator[Struct], columns: Columns, limit: int | None) -> None:
        shown = [record async for record in _first(found, None if limit is None else limit + 1)]
        more = limit is not None and len(shown) > limit
        if self._out.isatty() and len(shown) <= MOST_DRAWN:
            self.console.print(table(columns, shown[:limit]))
        else:
            self._out.writelines(f"{line}\n" for line in text_lines(columns, shown[:limit]))
        self._out.flush()
        if more:
            self.note(f"there are more than {limit}: see --limit, --since and --until")

    async def _list(self, found: AsyncIterator[Struct], limit: int | None) -> None:
        between = "["
        async for record in _first(found, limit):
            self._out.write(f"{between}\n{msgspec.json.encode(record).decode()}")
            between = ","
        self._out.write("[]\n" if between == "[" else "\n]\n")
        self._out.flush()

    # --- the rest ----------------------------------------------------------------------------------------------------

    def note(self, text: str) -> None:
        """Write a note for people, which programs do not need."""
        if not self.json:
            self._err.write(f"cmmctl: {plain(text)}\n")
            self._err.flush()

    def question(self, lines: Sequence[str]) -> None:
        """Ask the operator a question; the answer is typed on its last line."""
        self._err.write("\n".join(plain(line) for line in lines) + " ")
        self._err.flush()

    def failed(self, end: Ends) -> None:
        """Write in one line why the call ended."""
        if self.json:
            self._err.write(msgspec.json.encode({"error": end.code, "message": str(end)}).decode() + "\n")
        else:
            self._err.write(f"cmmctl: {plain(end)} [{end.code}]\n")
        self._err.flush()

    @contextmanager
    def waiting(self, text: str) -> Iterator[None]:
        """Show people that something takes its time."""
        if not self._can_draw_errors:
            yield
            return
        with self._errors.status(Text(plain(text))):
            yield

    @contextmanager
    def bars(self, *columns: ProgressColumn | str) -> Iterator[Progress | None]:
        """Progress bars, which are gone at the end; the caller refreshes them. None: the operator sees none."""
        if not self._can_draw_errors:
            yield None
            return
        with Progress(*columns, console=self._errors, auto_refresh=False, transient=True) as progress:
            yield progress

    @property
    def _can_draw_errors(self) -> bool:
        return not self.json and self._err.isatty() and not self._errors.is_dumb_terminal


class _Console(Console):
    def on_broken_pipe(self) -> None:
        """Rich would end the process here, with a status that says nothing about what was done."""
        raise BrokenPipeError


def _console(stream: TextIO) -> Console:
    width = None if stream.isatty() else WIDEST
    return _Console(file=stream, width=width, markup=False, highlight=False, emoji=False)


async def _first(found: AsyncIterator[Any], limit: int | None) -> AsyncIterator[Any]:
    left = limit
    async for record in found:
        yield record
        if left is not None:
            left -= 1
            if not left:
                return


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
        """Format rows a second and the remaining time; empty while neither is known."""
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
        """Show the progress during the block."""
        with self._output.bars(*_COLUMNS) as self._bars:
            yield

    def tell(self, step: Step) -> None:
        """Report a finished step."""
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


LONGEST_LINE = 4096


def can_ask(output: Output, inp: TextIO) -> bool:
    """Tell whether the operator sees questions and can answer them."""
    return output.can_show_questions and inp.isatty()


async def ask(
    lines: Sequence[str],
    output: Output,
    inp: TextIO,
    reactor: Any,
    *,
    question: str = "Send it?",
    refused: str = "nothing was sent",
) -> None:
    """Have something allowed by the person at the terminal. What was typed before the question does not count.

    :param lines: what exactly will happen.
    :param refused: what is said where the answer is anything but yes.
    :raises Ends: the answer is anything but yes.
    """
    with suppress(termios.error):
        termios.tcflush(inp.fileno(), termios.TCIFLUSH)
    output.question([*lines, f"{question} [y/N]"])
    answer = await _line(inp.fileno(), reactor)
    if answer.strip().lower() not in (b"y", b"yes"):
        raise Ends(ExitStatus.FAILED, "not_confirmed", refused)


def _line(descriptor: int, reactor: Any) -> Deferred[bytes]:
    """The next line of a terminal, which hands out whole lines; empty at its end."""
    reader = _Line(descriptor, reactor)
    reactor.addReader(reader)
    return reader.line


@implementer(IReadDescriptor)
class _Line:
    def __init__(self, descriptor: int, reactor: Any) -> None:
        self._descriptor = descriptor
        self._reactor = reactor
        self.line: Deferred[bytes] = Deferred(self._stop)

    def _stop(self, _: object = None) -> None:
        self._reactor.removeReader(self)

    def fileno(self) -> int:
        return self._descriptor

    def doRead(self) -> None:
        self._stop()
        try:
            line = os.read(self._descriptor, LONGEST_LINE)
        except OSError:  # the terminal has gone
            line = b""
        self.line.callback(line)

    def connectionLost(self, _: Failure) -> None:
        self._stop()
        if not self.line.called:
            self.line.callback(b"")

    def logPrefix(self) -> str:
        return "terminal"


_CSV_HEADINGS = ("at", "reason", "suppressed")


async def write_readings_csv(
    output: Output, found: AsyncIterator[ReadingRow], names: list[str] | None, limit: int | None
) -> None:
    """Write readings as CSV. Without names the columns are known at the end only: until then they wait in a file."""
    columns = dict.fromkeys(names or ())
    with TemporaryFile() as waiting:
        left = limit
        async for reading in found:
            if names is None:
                columns.update(dict.fromkeys(reading.points))
            waiting.write(msgspec.json.encode(reading) + b"\n")
            left = None if left is None else left - 1
            if left == 0:
                break
        output.raw(_csv_line([*_CSV_HEADINGS, *columns]))
        waiting.seek(0)
        decoder = msgspec.json.Decoder(ReadingRow)
        for line in waiting:
            reading = decoder.decode(line)
            values = (reading.points.get(name) for name in columns)
            output.raw(_csv_line([utc_text(reading.at), reading.reason, reading.suppressed, *values]))


def _csv_line(cells: list[Any]) -> str:
    made = io.StringIO()
    csv.writer(made, lineterminator="\n").writerow(cells)
    return made.getvalue()
