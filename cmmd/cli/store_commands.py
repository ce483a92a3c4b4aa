"""Commands about the store itself, without a daemon: check, info, migrate, copy."""

from collections.abc import Sequence
from pathlib import Path

import click
from msgspec import Struct
from msgspec.structs import asdict
from rich.console import Group, RenderableType
from rich.text import Text

from cmmd.cli import store_copy
from cmmd.cli.exit_status import ExitStatus
from cmmd.cli.formatting import moment_text, plain, size_text
from cmmd.cli.options import command
from cmmd.cli.session import CliSession
from cmmd.cli.store_access import Stores
from cmmd.cli.tables import Columns, facts, table
from cmmd.store.tools.copying import source_of
from cmmd.store.tools.stats import Check, StoreStats

__all__ = ["Migrated", "add_to"]

_URL = click.argument("url", required=False)


class Migrated(Struct, frozen=True, kw_only=True):
    """``cmmctl --json store migrate``: the schema's version before and after."""

    store: str
    before: int
    after: int


def add_to(group: click.Group) -> None:
    """Give them to the command line."""

    @group.group("store", no_args_is_help=False)
    @click.option(
        "--config", type=click.Path(path_type=Path), metavar="FILE", help="The daemon's configuration (TOML)."
    )
    def store(config: Path | None) -> None:
        """The store itself, whether the daemon runs or not.

        URL: as in the configuration, sqlite:FILE or postgresql://USER@HOST/DATABASE; without one it is the daemon's.
        """

    store_copy.add_to(store)

    @command("info", group=store)
    @_URL
    @click.pass_context
    def info(context: click.Context, session: CliSession, url: str | None) -> int:
        """What it has, and how large that is."""
        inspector = Stores.of(context).inspector(url)

        def work() -> int:
            with session.output.waiting(f"looking at {inspector.shown}"):
                found = inspector.facts()
            session.output.show(found, lambda: _facts(found))
            return ExitStatus.DONE

        return session.carry_out_at_once(work)

    @command("check", group=store)
    @_URL
    @click.pass_context
    def check(context: click.Context, session: CliSession, url: str | None) -> int:
        """Whether all is well with it; this reads all of an embedded store."""
        inspector = Stores.of(context).inspector(url)

        def work() -> int:
            found: list[Check] = []
            for one in inspector.checks():
                found.append(one)
                if not session.output.json:
                    session.output.text(f"{'ok   ' if one.ok else 'WRONG'} {one.name}: {one.text}")
            if session.output.json:
                session.output.line(found)
            return ExitStatus.DONE if all(one.ok for one in found) else ExitStatus.FAILED

        return session.carry_out_at_once(work)

    @command("migrate", group=store)
    @_URL
    @click.pass_context
    def migrate(context: click.Context, session: CliSession, url: str | None) -> int:
        """Bring its schema up to date, as the daemon does when it starts."""
        stores = Stores.of(context)
        inspector = stores.inspector(url)

        def work() -> int:
            inspector.reach()
            with stores.alone(inspector), session.output.waiting(f"migrating {inspector.shown}"):
                before, after = inspector.migrate()
            migrated = Migrated(store=inspector.shown, before=before, after=after)
            session.output.show(migrated, lambda: Text(plain(_sentence(migrated))))
            return ExitStatus.DONE

        return session.carry_out_at_once(work)


def _sentence(migrated: Migrated) -> str:
    if migrated.before == migrated.after:
        return f"{migrated.store}: schema version {migrated.after}, nothing to do"
    return f"{migrated.store}: schema version {migrated.before}, now {migrated.after}"


_PARTITIONS: Columns = (
    ("partition", lambda one: one.name),
    ("readings, about", lambda one: f"{one.rows:,}"),
    ("size", lambda one: size_text(one.size)),
)


def _facts(found: StoreStats) -> RenderableType:
    newer = "" if found.schema == found.newest_schema else f", {found.newest_schema} is wanted: `cmmctl store migrate`"
    writer = found.writer or None
    begun = source_of(found.writer or "")
    about = dict.fromkeys(found.approximate, "about ")
    counts = [(name, f"{about.get(name, '')}{count:,}") for name, count in asdict(found.counts).items()]
    each = None if found.reading_size is None else f"{found.reading_size:,.0f} bytes"
    parts: Sequence[RenderableType] = [table(_PARTITIONS, found.partitions)] if found.partitions else []
    return Group(
        facts(
            [
                ("store", found.store),
                ("server", found.server),
                ("schema", f"version {found.schema}{newer}"),
                ("identity", found.identity),
                ("writer", writer if begun is None else f"an unfinished copy of {begun}"),
                *counts,
                ("oldest reading", moment_text(found.oldest_reading_at)),
                ("newest reading", moment_text(found.newest_reading_at)),
                ("size", size_text(found.size)),
                ("a reading", each),
            ]
        ),
        *parts,
    )
