"""What cmmctl says: tables for people, JSON for programs, and one line where something is the matter."""

from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TextIO

import msgspec
from msgspec import Struct
from rich.console import Console, RenderableType
from rich.progress import Progress, ProgressColumn
from rich.text import Text

from cmmd.cli.exit_status import Ends
from cmmd.cli.formatting import plain
from cmmd.cli.tables import Columns, table, text_lines

__all__ = ["Output"]

WIDEST = 10_000
"""Columns of what is no terminal: nothing is cut or folded there."""

MOST_DRAWN = 500
"""Rows of a table that is drawn: it takes long, because every cell is measured and folded."""


class Output:
    """Where everything goes that is said.

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
        """Whether results go to a terminal that can be drawn on."""
        return self._out.isatty() and not self.console.is_dumb_terminal

    @property
    def can_show_questions(self) -> bool:
        """Whether somebody sees what does not go to the results."""
        return self._err.isatty()

    def speak_json(self) -> None:
        """Be read by programs, whatever this machine's language is."""
        self.json = True
        if hasattr(self._out, "reconfigure"):
            self._out.reconfigure(encoding="utf-8")

    # --- results -----------------------------------------------------------------------------------------------------

    def show(self, record: object, people: Callable[[], RenderableType]) -> None:
        """One result: a JSON document, or what people read."""
        if self.json:
            self.line(record)
        else:
            self.console.print(people())
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
        """Something that people should know; nothing for programs."""
        if not self.json:
            self._err.write(f"cmmctl: {plain(text)}\n")
            self._err.flush()

    def question(self, lines: Sequence[str]) -> None:
        """What somebody is asked; the answer stands on the last line."""
        self._err.write("\n".join(plain(line) for line in lines) + " ")
        self._err.flush()

    def failed(self, end: Ends) -> None:
        """Why it ended: one line."""
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
        """Progress bars, which are gone at the end; whoever has them refreshes them. None: nobody sees any."""
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
