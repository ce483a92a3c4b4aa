"""Which stores ``cmmctl store`` works on, and that nobody else does."""

from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource
from msgspec.structs import asdict

from cmmd import config
from cmmd.cli.exit_status import Ends, ExitStatus
from cmmd.process import StateInUse, lock_state
from cmmd.store.interface import IStore
from cmmd.store.tools.inspection import inspector_at
from cmmd.store.tools.stats import Inspector

__all__ = ["Stores"]

LOCK = "cmmd.lock"
SPOOL = "spool.sqlite"
"""Of a state directory."""

ENDING_S = 5.0
"""How long a database may still know a process that was killed."""


class Stores:
    """What URLs mean here.

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
        """Who looks at this store; None: at the daemon's.

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

    @contextmanager
    def alone(self, *stores: Inspector) -> Iterator[None]:
        """Have nobody else use these, and no daemon start on them.

        :raises Ends: somebody does.
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
