"""Backups of an embedded store: made beside the daemon that uses it, brought back while none does."""

import fcntl
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from msgspec import Struct

from cmmd.atomic_file import sync_folder
from cmmd.store.interface import StoreError, StoreUnavailable
from cmmd.store.records import Numbers
from cmmd.store.sqlite.inspector import SQLiteInspector
from cmmd.store.sqlite.rows import highest_numbers, insert
from cmmd.store.sqlite.schema import migrate, missing_schemas, quick_check
from cmmd.store.sqlite.store_file import new_mark, set_aside
from cmmd.store.tools.copying import source_of

__all__ = ["Progress", "Restored", "Spooled", "back_up", "restore"]

Progress = Callable[[int, int], None]
"""Called with the pages that are left, and all of them."""

_PAGES = 2000
"""Pages that are copied between two looks at a Ctrl-C."""


class Spooled(Struct, frozen=True):
    """The spool of the daemon whose store is restored.

    :ivar identity: of the spool. :ivar owner: identity of the store that its rows are for. :ivar rows: that wait in it.
    """

    identity: str
    owner: str
    rows: int


class Restored(Struct, frozen=True, kw_only=True):
    """A store that was brought back.

    :ivar identity: of the store. :ivar has_devices: whether there are any in it.
    :ivar numbers: the highest ones that count as given: no later record has one of these.
    :ivar former: where the former file is now; None: there was none.
    """

    identity: str
    has_devices: bool
    numbers: Numbers
    former: Path | None


def back_up(store: SQLiteInspector, target: Path, progress: Progress) -> None:
    """Copy a store as it is at one moment to a file, whether a daemon uses it or not.

    The file is one whole: it has no WAL. An older backup there is replaced once the new one is durable.

    :raises StoreUnavailable: the store cannot be read, or the file not be written.
    :raises StoreError: the file is the store itself, or another backup is being written there, or SQLite would change
        it by what another program has left beside it.
    """
    target = target.resolve()  # a link stays one
    if target.exists() and store.path.exists() and target.samefile(store.path):
        raise StoreError(f"{target} is the store itself")
    if target.is_dir():
        raise StoreError(f"{target} is a directory: name a file in it")
    if target.exists() and not target.is_file():
        raise StoreError(f"{target} is a device or a pipe: name a file")
    for ending in ("-wal", "-journal"):
        beside = target.with_name(f"{target.name}{ending}")
        if beside.exists() and beside.stat().st_size:
            raise StoreError(f"{beside} belongs to a file that was there before: put it away, or name another file")
    with _whole_copy(store, target.with_name(f"{target.name}.part"), progress) as part:
        part.replace(target)
        sync_folder(target.parent)


def restore(backup: SQLiteInspector, store: Path, spooled: Spooled | None, progress: Progress) -> Restored:
    """Put a backup in the place of a store that no daemon uses. The former file is kept under another name.

    :param spooled: the daemon's spool; None: it has none.
    :raises StoreUnavailable: the backup cannot be read, or the store not be written.
    :raises StoreError: the backup is damaged, unfinished, or of a later version; or rows wait for another store.
    """
    if store.exists() and backup.path.exists() and store.samefile(backup.path):
        raise StoreError(f"{backup.path} is the store itself")
    file = store.resolve()
    with _whole_copy(backup, file.with_name(f"{file.name}.restoring"), progress) as part:
        given = _given(SQLiteInspector(store))
        with closing(sqlite3.connect(part, isolation_level=None)) as connection:
            restored = _prepare(connection, backup.path, spooled, given)
        _give_to_owner(part, file if file.exists() else file.parent)
        former = set_aside(file)
        part.replace(file)
        sync_folder(file.parent)
    return Restored(
        identity=restored.identity, has_devices=restored.has_devices, numbers=restored.numbers, former=former
    )


@contextmanager
def _whole_copy(source: SQLiteInspector, part: Path, progress: Progress) -> Iterator[Path]:
    """Copy a store to a file beside its destination; what a killed copy has left there is overwritten."""
    try:
        descriptor = _locked(part)
        try:
            os.ftruncate(descriptor, 0)
            for ending in ("-journal", "-wal", "-shm"):
                part.with_name(f"{part.name}{ending}").unlink(missing_ok=True)
            _copy(source, part, progress)
            os.fsync(descriptor)
            yield part
        except BaseException:
            with suppress(OSError):
                part.unlink(missing_ok=True)
            raise
        finally:
            os.close(descriptor)
    except BlockingIOError:
        raise StoreError(f"{part}: another backup is being written there") from None
    except sqlite3.Error as error:
        raise StoreUnavailable(f"{part}: {error}") from None
    except OSError as error:
        raise StoreUnavailable(f"{error.filename or part}: {error.strerror}") from None


def _locked(part: Path) -> int:
    """Open a file and lock it, so that no other copy is written to it.

    :raises BlockingIOError: one is.
    """
    while True:
        descriptor = os.open(part, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if part.exists() and os.path.samestat(os.fstat(descriptor), part.stat()):
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)  # the copy that was being written is finished, and has another name by now


def _copy(source: SQLiteInspector, part: Path, progress: Progress) -> None:
    with source.reading() as reading, closing(sqlite3.connect(part, isolation_level=None)) as copy:
        # In one transaction: else each commit of the daemon would have it begin from the start.
        reading.execute("BEGIN")
        reading.execute("SELECT count(*) FROM sqlite_master").fetchone()
        reading.backup(copy, pages=_PAGES, progress=lambda _, left, pages: progress(left, pages))
        reading.execute("COMMIT")
        copy.execute("PRAGMA journal_mode = DELETE")
        copy.execute(f"PRAGMA application_id = {new_mark()}")  # else a running daemon would take it for its own file
        found = quick_check(copy)
        if found:
            raise StoreError(f"{source.path}: damaged ({found[0]})")


def _prepare(connection: sqlite3.Connection, backup: Path, spooled: Spooled | None, given: Numbers | None) -> Restored:
    """Make the copy of a backup ready for the next start, which must not refuse it."""
    migrate(connection, missing_schemas(connection, backup))
    identity, writer = connection.execute("SELECT identity, writer FROM store").fetchone()
    if source_of(writer) is not None:
        raise StoreError(f"{backup} is an unfinished copy of another store")
    if spooled is not None and spooled.rows:
        if spooled.owner != identity:
            raise StoreError(f"{spooled.rows} rows wait in the spool for another store: put spool.sqlite away before")
        connection.execute("UPDATE store SET writer = ?", (spooled.identity,))
    if given is not None:  # what was given since the backup must not be given to other records
        insert([given], connection)
    (devices,) = connection.execute("SELECT count(*) FROM device").fetchone()
    return Restored(identity=identity, has_devices=bool(devices), numbers=highest_numbers(connection), former=None)


def _given(store: SQLiteInspector) -> Numbers | None:
    """The highest numbers of the former store; None: it is missing, or cannot be read."""
    try:
        with store.reading() as connection:
            return highest_numbers(connection)
    except (StoreError, sqlite3.Error):
        return None


def _give_to_owner(path: Path, like: Path) -> None:
    """Let the daemon's user own a file that root has made."""
    if os.geteuid() == 0:
        owner = like.stat()
        os.chown(path, owner.st_uid, owner.st_gid)
