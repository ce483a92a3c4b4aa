"""``cmmctl store copy``: everything of one store into another."""

import time
from typing import Any

import click
from msgspec import Struct
from msgspec.structs import asdict
from rich.console import Group, RenderableType
from rich.text import Text
from twisted.internet.defer import CancelledError

from cmmd.cli.exit_status import Ends, ExitStatus
from cmmd.cli.formatting import duration, plain
from cmmd.cli.options import command
from cmmd.cli.progress import CopyProgress
from cmmd.cli.session import CliSession
from cmmd.cli.store_access import Stores
from cmmd.cli.tables import Columns, table
from cmmd.store.tools.copying import Compared, CopyRefused, copy
from cmmd.store.tools.stats import Counts, Inspector, StoreStats

__all__ = ["CopyResult", "add_to"]

_GOES_ON = ("readings", "events")
"""What a copy that was begun before goes on with; the rest is little, and brought again."""


class CopyResult(Struct, frozen=True, kw_only=True):
    """``cmmctl --json store copy``.

    :ivar continued: whether it had been begun before.
    :ivar same: whether the target has what the source has, and nothing else.
    :ivar seconds: how long it took this time.
    """

    source: str
    target: str
    continued: bool
    same: bool
    seconds: float
    kinds: list[Compared]


def add_to(group: click.Group) -> None:
    """Give it to ``cmmctl store``."""

    @command("copy", group=group)
    @click.argument("source", metavar="FROM")
    @click.argument("target", metavar="TO")
    @click.pass_context
    def copy_(context: click.Context, session: CliSession, source: str, target: str) -> int:
        """Bring everything of a store into an empty one, and compare.

        Both are URLs; neither may be in use. What was interrupted goes on with the same command.
        """
        stores = Stores.of(context)
        from_, to = stores.inspector(source), stores.inspector(target)

        async def work(reactor: Any) -> int:
            if from_.shown == to.shown:
                raise CopyRefused("FROM and TO are the same store")
            found = _source_facts(from_)
            begun = asdict(Counts() if to.is_empty() else to.facts().counts)
            with stores.alone(from_, to):
                notice = stores.assert_nothing_waits(from_, found.writer)
                if notice is not None:
                    session.output.note(notice)
                progress = CopyProgress(
                    *(session.output, asdict(found.counts), {kind: begun[kind] for kind in _GOES_ON}, time.monotonic)
                )
                started = time.monotonic()
                try:
                    with progress.shown():
                        copied = await copy(stores.store(source, reactor), stores.store(target, reactor), progress.tell)
                except CancelledError:
                    text = "interrupted: the same command goes on where it was"
                    raise Ends(ExitStatus.INTERRUPTED, "interrupted", text) from None
                result = CopyResult(
                    source=from_.shown,
                    target=to.shown,
                    continued=copied.continued,
                    same=copied.same,
                    seconds=round(time.monotonic() - started, 3),
                    kinds=copied.kinds,
                )
            session.output.show(result, lambda: _shown(result))
            return ExitStatus.DONE if result.same else ExitStatus.FAILED

        return session.carry_out_here(work)


def _source_facts(source: Inspector) -> StoreStats:
    """What there is to be copied.

    :raises CopyRefused: not all of it would be.
    """
    found = source.facts()
    if found.schema < found.newest_schema:
        raise CopyRefused(f"the schema of {source.shown} is version {found.schema}: `cmmctl store migrate` it first")
    damage = source.damage()
    if damage:
        raise CopyRefused(f"{source.shown}: {damage[0]}; see `cmmctl store check`")
    return found


_KINDS: Columns = (
    ("", lambda one: one.kind),
    ("records", lambda one: f"{one.source:,}" if one.source == one.target else f"{one.source:,} and {one.target:,}"),
    ("BLAKE2b", lambda one: one.source_hash),
    ("is", lambda one: "the same" if one.difference is None else f"DIFFERENT: {one.difference}"),
)


def _shown(result: CopyResult) -> RenderableType:
    end = (
        f"{result.source} is in {result.target}, compared, in {duration(result.seconds)}"
        if result.same
        else f"{result.target} is not the same as {result.source}: empty it, and copy again"
    )
    return Group(table(_KINDS, result.kinds), Text(plain(end)))
