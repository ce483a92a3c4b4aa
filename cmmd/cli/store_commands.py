"""Look after the store, whether the daemon runs or not: cmmctl store."""

import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource
from msgspec import Struct
from msgspec.structs import asdict
from rich.console import Group, RenderableType
from rich.text import Text
from twisted.internet.defer import CancelledError

from cmmd import config
from cmmd.cli.exit_status import Ends, ExitStatus
from cmmd.cli.formatting import Columns, duration, facts, moment_text, plain, size_text, table
from cmmd.cli.options import command
from cmmd.cli.output import CopyProgress
from cmmd.cli.session import CliSession
from cmmd.process import StateInUse, lock_state
from cmmd.store.interface import IStore
from cmmd.store.served import ServedStore
from cmmd.store.sqlite.inspector import SQLiteInspector
from cmmd.store.tools.copying import Compared, CopyRefused, copy, source_of
from cmmd.store.tools.inspection import inspector_at
from cmmd.store.tools.stats import Check, Counts, Inspector, StoreStats

__all__ = ["CopyResult", "Migrated", "Stores", "add_to"]


LOCK = "cmmd.lock"
SPOOL = "spool.sqlite"
"""Of a state directory."""

ENDING_S = 5.0
"""How long a database may still know a process that was killed."""


class Stores:
    """The stores that URLs name in this call.

    :param state: the daemon's state directory, where relative files are.
    :param settings: the ``[store]`` of its configuration.
    """

    def __init__(self, state: Path, settings: config.Store) -> None:
        self._state = state
        self._settings = settings
        self._password_file = Path(settings.password_file) if settings.password_file else None

    @classmethod
    def of(cls, context: click.Context) -> "Stores":
        """As the options before the command say.

        :raises click.UsageError: they cannot be used.
        """
        root, parent = context.find_root(), context.parent
        assert parent is not None, "it is in a group"
        if root.get_parameter_source("connect") is ParameterSource.COMMANDLINE:
            raise click.UsageError("store works where the daemon's files are: --state, not --connect")
        try:
            settings = config.load(parent.params["config"])
        except config.ConfigError as error:
            raise click.UsageError(str(error)) from None
        return cls(root.params["state"], settings.store)

    def inspector(self, url: str | None) -> Inspector:
        """Choose the inspector of a store; None: of the daemon's.

        :raises click.UsageError: there is none.
        """
        try:
            return inspector_at(url or self._settings.url, self._state, self._password_file)
        except ValueError as error:
            raise click.UsageError(str(error)) from None

    def store(self, url: str, reactor: Any) -> IStore:
        """The store, not open yet. Whether there is one is known of its inspector."""
        from cmmd.store.urls import store_at  # slow to import, and needed for this only

        return store_at(url, self._state, reactor, self._password_file)

    @property
    def state(self) -> Path:
        """The daemon's state directory."""
        return self._state

    @contextmanager
    def alone(self, *stores: Inspector) -> Iterator[None]:
        """Lock these stores against other users, and against the start of a daemon.

        :raises Ends: another process uses one.
        """
        with ExitStack() as held:
            for folder in sorted(self._folders(stores)):
                held.enter_context(_locked(folder))
            for one in stores:
                holder = one.holder(ENDING_S)
                if holder is not None:
                    raise _in_use(f"{one.shown} is in use: {holder}")
            yield

    def assert_nothing_waits(self, source: Inspector, writer: str | None) -> str | None:
        """Look whether the daemon has rows that its store does not have yet.

        :param source: what is to be copied. :param writer: who writes to it, see Kept.
        :return: what people should know.
        :raises Ends: it has.
        """
        spool = inspector_at(f"sqlite:{SPOOL}", self._state)
        path = self._state / SPOOL
        if path.exists() and path.stat().st_size:
            found = spool.facts()
            waiting = sum(asdict(found.counts).values())
            if waiting:
                text = f"{waiting} rows wait in {path} for their store: start cmmd until they are there, then stop it"
                raise Ends(ExitStatus.FAILED, "rows_wait", text)
            if not writer or writer == found.identity:
                return None
        if not writer:
            return None
        return f"the spool of {source.shown} is not in {self._state}: should there be rows in it, they are not copied"

    def _folders(self, stores: tuple[Inspector, ...]) -> set[Path]:
        """The state directories that these belong to."""
        state = self._state.absolute()
        folders = {one.folder for one in stores if one.folder is not None and one.folder.is_dir()}
        found = {folder.resolve() for folder in folders if folder == state or (folder / LOCK).exists()}
        if state.is_dir() and self.inspector(None).shown in {one.shown for one in stores}:
            found.add(state.resolve())
        return found


@contextmanager
def _locked(state: Path) -> Iterator[None]:
    try:
        lock = lock_state(state)
    except StateInUse as error:
        raise _in_use(str(error)) from None
    except OSError as error:
        raise Ends(ExitStatus.NO_CONNECTION, "store_unavailable", f"{state / LOCK}: {error.strerror}") from None
    with closing(lock):
        yield


def _in_use(what: str) -> Ends:
    return Ends(ExitStatus.FAILED, "store_in_use", f"{what}: stop that first")


_GOES_ON = ("readings", "events")
"""What a copy that was begun before continues with; the rest is little, and brought again."""


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


def _add_copy_to(group: click.Group) -> None:
    """Give it to ``cmmctl store``."""

    @command("copy", group=group)
    @click.argument("source", metavar="FROM")
    @click.argument("target", metavar="TO")
    @click.pass_context
    def copy_(context: click.Context, session: CliSession, source: str, target: str) -> int:
        """Bring everything of a store into an empty one, and compare.

        Both are URLs; neither may be in use. What was interrupted is continued by the same command.
        """
        stores = Stores.of(context)
        from_, to = stores.inspector(source), stores.inspector(target)

        async def work(reactor: Any) -> int:
            if from_.shown == to.shown or _is_one_file(from_, to):
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
                    text = "interrupted: the same command continues where it was"
                    raise Ends(ExitStatus.INTERRUPTED, "interrupted", text) from None
                if copied.same:
                    ServedStore(stores.state).accept_copy(found.identity or "", to.facts().identity or "")
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


def _is_one_file(one: Inspector, other: Inspector) -> bool:
    paths = [store.path for store in (one, other) if isinstance(store, SQLiteInspector) and store.path.exists()]
    return len(paths) == 2 and paths[0].samefile(paths[1])


def _source_facts(source: Inspector) -> StoreStats:
    """List the content of the source of a copy.

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

    _add_copy_to(store)

    @command("info", group=store)
    @_URL
    @click.pass_context
    def info(context: click.Context, session: CliSession, url: str | None) -> int:
        """Show what the store has, and how large that is."""
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
        """Check the store; this reads all of an embedded one."""
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
