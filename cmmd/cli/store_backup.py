"""Back an embedded store up, and bring a backup back: cmmctl store backup and restore."""

from pathlib import Path

import click
from msgspec import Struct
from msgspec.structs import asdict
from rich.console import Group, RenderableType
from rich.text import Text

from cmmd.cli.exit_status import ExitStatus
from cmmd.cli.formatting import moment_text, plain, size_text
from cmmd.cli.options import command
from cmmd.cli.session import CliSession
from cmmd.cli.store_commands import SPOOL, Stores
from cmmd.store.interface import StoreError
from cmmd.store.served import ServedStore
from cmmd.store.sqlite.backup import Spooled, back_up, restore
from cmmd.store.sqlite.inspector import SQLiteInspector
from cmmd.store.tools.stats import Inspector, StoreStats

__all__ = ["BackedUp", "RestoredStore", "add_to"]

_FILE = click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
_URL = click.argument("url", required=False)


class BackedUp(Struct, frozen=True, kw_only=True):
    """``cmmctl --json store backup``.

    :ivar size: of the file, in bytes.
    :ivar devices: that are in it. :ivar readings: in the same way.
    :ivar newest_reading_at: milliseconds UTC; None: there is no reading.
    :ivar waiting: rows that wait in the daemon's spool, and are not in it.
    """

    store: str
    file: str
    size: int
    devices: int
    readings: int
    newest_reading_at: int | None
    waiting: int


class RestoredStore(Struct, frozen=True, kw_only=True):
    """``cmmctl --json store restore``.

    :ivar devices: that are in the store now. :ivar readings: in the same way.
    :ivar newest_reading_at: milliseconds UTC; None: there is no reading.
    :ivar former: where the former file is now; None: there was none.
    :ivar former_newest_reading_at: of the former file; None: it has no reading, or cannot be read.
    """

    store: str
    file: str
    devices: int
    readings: int
    newest_reading_at: int | None
    former: str | None
    former_newest_reading_at: int | None


def add_to(root: click.Group) -> None:
    """Add both commands to ``cmmctl store``, which is there already."""
    group = root.commands["store"]
    assert isinstance(group, click.Group)

    @command("backup", group=group)
    @_FILE
    @_URL
    @click.pass_context
    def backup(context: click.Context, session: CliSession, file: Path, url: str | None) -> int:
        """Copy an embedded store to FILE as it is at one moment, beside the daemon or without one.

        An older backup in FILE is replaced once the new one is on the disk.
        """
        stores = Stores.of(context)
        store = _embedded(stores.inspector(url), "pg_dump backs it up")

        def work() -> int:
            with session.output.waiting(f"copying {store.shown}"):
                back_up(store, file, _silent)
                found = SQLiteInspector(file).facts()
            spooled = _spooled(stores.state)
            result = BackedUp(
                store=store.shown,
                file=str(file),
                size=file.stat().st_size,
                devices=found.counts.devices,
                readings=found.counts.readings,
                newest_reading_at=found.newest_reading_at,
                waiting=spooled.rows if spooled else 0,
            )
            session.output.show(result, lambda: _backed_up(result))
            return ExitStatus.DONE

        return session.carry_out_at_once(work)

    @command("restore", group=group)
    @_FILE
    @_URL
    @click.pass_context
    def restore_(context: click.Context, session: CliSession, file: Path, url: str | None) -> int:
        """Put the backup in FILE in the place of an embedded store, which no daemon may use now.

        The former file is kept under another name.
        """
        stores = Stores.of(context)
        store = _embedded(stores.inspector(url), "pg_restore brings a dump back")
        own = stores.inspector(None)
        belongs = isinstance(own, SQLiteInspector) and own.path.resolve() == store.path.resolve()

        def work() -> int:
            source = SQLiteInspector(file)
            source.reach()
            with stores.alone(store), session.output.waiting(f"restoring {store.shown}"):
                former = _facts(store)
                restored = restore(source, store.path, _spooled(stores.state) if belongs else None, _silent)
                if belongs:
                    served = ServedStore(stores.state)
                    served.accept_restored(restored.identity, restored.numbers, has_devices=restored.has_devices)
                found = store.facts()
            result = RestoredStore(
                store=store.shown,
                file=str(file),
                devices=found.counts.devices,
                readings=found.counts.readings,
                newest_reading_at=found.newest_reading_at,
                former=None if restored.former is None else str(restored.former),
                former_newest_reading_at=former.newest_reading_at if former else None,
            )
            session.output.show(result, lambda: _restored(result))
            return ExitStatus.DONE

        return session.carry_out_at_once(work)


def _embedded(store: Inspector, instead: str) -> SQLiteInspector:
    if not isinstance(store, SQLiteInspector):
        raise click.UsageError(f"{store.shown} is no embedded store: {instead}, see docs/operations.md")
    return store


def _silent(*_: int) -> None:
    """Report no progress: a Ctrl-C is heard between two calls."""


def _spooled(state: Path) -> Spooled | None:
    path = state / SPOOL
    if not path.exists() or not path.stat().st_size:
        return None
    found = SQLiteInspector(path).facts()
    return Spooled(found.identity or "", found.writer or "", sum(asdict(found.counts).values()))


def _facts(store: SQLiteInspector) -> StoreStats | None:
    """Look at the former store, as far as it can be read: it may be the reason to restore a backup."""
    try:
        return store.facts()
    except StoreError:
        return None


def _backed_up(result: BackedUp) -> RenderableType:
    what = f"{result.store} is in {result.file}, {size_text(result.size)}"
    newest = moment_text(result.newest_reading_at)
    lines = [f"{what}: {result.devices:,} devices, {result.readings:,} readings, the newest of {newest}"]
    if result.waiting:
        lines.append(f"{result.waiting:,} rows wait in the spool for the store, and are not in it")
    return Group(*(Text(plain(line)) for line in lines))


def _restored(result: RestoredStore) -> RenderableType:
    what = f"{result.store} is now what {result.file} has"
    newest = moment_text(result.newest_reading_at)
    lines = [f"{what}: {result.devices:,} devices, {result.readings:,} readings, the newest of {newest}"]
    if result.former is not None:
        lines.append(f"the former file is {result.former}")
    if (result.former_newest_reading_at or 0) > (result.newest_reading_at or 0):
        newest = moment_text(result.former_newest_reading_at)
        lines.append(f"the backup is older: what came after it, up to {newest}, is only in the former file")
    return Group(*(Text(plain(line)) for line in lines))
