"""The file of an embedded store: locked for one process, and recognised again while that uses it.

SQLite notices neither that a second daemon numbers rows in the same file, nor that a backup was copied over the file
beneath it; and it replays whatever WAL lies beside a file. This module looks for all three.
"""

import fcntl
import os
import secrets
import sqlite3
import struct
import time
from contextlib import suppress
from pathlib import Path
from threading import Lock

from msgspec import DecodeError, Struct, json
from twisted.logger import Logger

from cmmd.atomic_file import write_kept
from cmmd.store.interface import StoreError, StoreUnavailable

__all__ = ["FLOCK", "HELD_BYTES", "StoreFile", "new_mark", "set_aside", "wal_of"]

log = Logger()

RENEWAL_S = 60.0
"""Seconds after which the mark in the header is renewed: a copy of the file that is older has another one."""

HELD_BYTES = (0x40000002, 510)
"""Where in the file SQLite has its locks (first byte, length; SHARED_FIRST of its os.h). Every user holds one."""

FLOCK = "hhqqi4x"
"""``struct flock``: kind, from where, first byte, length, process."""

_MARK_BYTE, _MARK_BYTES = 68, 4  # application_id, https://www.sqlite.org/fileformat.html#the_database_header
_WAL_HEADER_BYTES, _FRAME_HEADER_BYTES, _LEAST_PAGE_BYTES = 32, 24, 512  # the_write_ahead_log, on the same page
_UNSIGNED = 0xFFFFFFFF
"""SQLite shows the mark with a sign, the file has none."""

_WAY_OUT = (
    "what comes waits in the spool; stop cmmd, then bring a backup back with `cmmctl store restore FILE`; to go on with"
    " the file that is there now, restore a copy of it"
)


class _Known(Struct):
    """The content of the file beside a store that is open. ``wal``: inode of its WAL; ``marks``: its header has one."""

    wal: int
    marks: list[int]


class StoreFile:
    """The file of an open store.

    Its header has a random number, the mark, which is replaced now and then. Whatever cmmd itself moves from the WAL to
    the file has one of the marks of this opening; a file that was copied over it does not. The marks are also noted
    beside the file, so that a start after a kill can tell whether the WAL there belongs to it.

    :param path: of the file, links included.
    :raises StoreError: another process has it open as a store, or its WAL is there without it.
    :raises OSError: it cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        self._name = str(path)
        self._path = path.resolve()  # SQLite follows links: the WAL is beside the file itself
        self._wal = wal_of(path)
        self._beside = self._path.with_name(f"{self._path.name}-mark")
        self._wal_inode: int | None = None
        self._marks: tuple[int, ...] = ()
        self._renewed_at = 0.0
        self._changing = Lock()
        self.is_strange = False
        """Whether the file, or its WAL, was not left by cmmd as it is: worth a check of its pages."""
        if _size(self._path) == 0 and _size(self._wal) > 0:
            raise StoreError(
                f"{path}: missing or empty, but {self._wal} has rows of it; put the file back to its WAL, or bring a"
                " backup back with `cmmctl store restore FILE`; to go on without those rows, rename the WAL"
            )
        self._fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            self._lock()
            self._look_at_wal()
        except BaseException:
            os.close(self._fd)
            raise

    def _lock(self) -> None:
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StoreError(f"{self._name}: another cmmd uses this file{_who_locks(self._fd)}") from None

    def _look_at_wal(self) -> None:
        """Set the WAL aside where it is certain that it belongs to a file which was here before."""
        known = self._known()
        has_wal = _size(self._wal) > 0
        is_known = known is not None and self._mark() in known.marks
        if has_wal and known is not None and not is_known and self._wal.stat().st_ino == known.wal:
            aside = set_aside(self._path, only_wal=True)
            log.warn(
                "{path}: another file was put in its place; the WAL of the former one is now {aside}",
                path=self._name,
                aside=aside,
            )
        self.is_strange = not is_known and (has_wal or known is not None)

    def begin(self, connection: sqlite3.Connection) -> None:
        """Take note of the file as it is used from now on.

        :param connection: in WAL mode, outside of a transaction.
        """
        with suppress(OSError):
            self._wal_inode = self._wal.stat().st_ino
        if self._wal_inode is None:
            return
        # Whichever of the WAL's marks a checkpoint brings to the file first: it is this file's own.
        self._marks = tuple(dict.fromkeys((self._mark(), *_marks_in(self._wal))))
        self._renewed_at = -RENEWAL_S
        try:
            self.renew(connection)
            newest = self.newest
            busy, frames, moved = connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        except sqlite3.OperationalError:  # another program has locked it: the first transaction gives it a mark
            self._renewed_at = -RENEWAL_S
            return
        if not busy and frames == moved:
            self.has_moved(newest)
            with suppress(OSError):  # the mark that was found may be any copy's: it is not good enough for a start
                self._note(self._marks)

    def renew(self, connection: sqlite3.Connection) -> None:
        """Give the file another mark when it is time; part of the transaction that is under way.

        :raises StoreUnavailable: another program has put other contents in the place of these, by SQLite's own means.
        """
        if not self._marks:
            return
        (seen,) = connection.execute("PRAGMA application_id").fetchone()
        if seen & _UNSIGNED not in self._marks:
            raise StoreUnavailable(f"{self._name}: another file was copied over it; {_WAY_OUT}")
        now = time.monotonic()
        if now - self._renewed_at < RENEWAL_S:
            return
        self._renewed_at = now
        mark = new_mark()
        try:  # first: a WAL whose file has a mark that is not noted would be taken for a foreign one
            self._note((*self._marks, mark))
        except OSError as error:
            log.debug("{path}: {error}", path=self._beside, error=error)
            return
        with self._changing:  # not before: who looks at the file must not wait for the disk
            self._marks = (*self._marks, mark)
        connection.execute(f"PRAGMA application_id = {mark}")

    @property
    def newest(self) -> int:
        """The mark of the latest transaction; 0: there is none."""
        return self._marks[-1] if self._marks else 0

    def has_moved(self, mark: int) -> None:
        """All that was written up to this mark is in the file: it does not have an older one any more."""
        with self._changing:
            if mark in self._marks and self._mark() == mark:
                self._marks = self._marks[self._marks.index(mark) :]

    def check(self) -> None:
        """Look whether the file is the one that was opened. SQLite writes on to one that was removed or replaced.

        :raises StoreUnavailable: it is not; says what to do.
        """
        here = os.fstat(self._fd)
        try:
            there = self._path.stat()
            wal = None if self._wal_inode is None else self._wal.stat().st_ino
        except OSError as error:
            missing = Path(str(error.filename)).name
            text = f"{self._name}: {missing}: {error.strerror}; put it back and start cmmd again"
            raise StoreUnavailable(text) from None
        if (there.st_ino, there.st_dev) != (here.st_ino, here.st_dev) or wal != self._wal_inode:
            raise StoreUnavailable(f"{self._name}: another file than was opened; {_WAY_OUT}")
        if self.is_overwritten:
            raise StoreUnavailable(f"{self._name}: another file was copied over it; {_WAY_OUT}")

    @property
    def is_overwritten(self) -> bool:
        """Tell whether other contents were written to the file, past SQLite."""
        with self._changing:  # the mark that is read and those it is looked for among are of the same moment
            return bool(self._marks) and self._mark() not in self._marks

    def before_closing(self) -> None:
        """Keep SQLite from moving the WAL into a file that it does not belong to, as it would at the end."""
        if self.is_overwritten:
            lock = struct.pack(FLOCK, fcntl.F_RDLCK, os.SEEK_SET, *HELD_BYTES, 0)
            fcntl.fcntl(self._fd, fcntl.F_OFD_SETLK, lock)  # to be alone is SQLite's condition

    def close(self) -> None:
        """Unlock it, after all connections to it have been closed: earlier would take their locks away."""
        try:
            if self.is_overwritten:
                aside = set_aside(self._path, only_wal=True)
                log.warn(
                    "{path} was overwritten; the WAL of the former file is now {aside}", path=self._name, aside=aside
                )
            if not _size(self._wal):
                self._beside.unlink(missing_ok=True)
        except OSError as error:
            log.error("{path}: {error}", path=self._name, error=error)
        finally:
            self.release()

    def release(self) -> None:
        """Unlock it and leave all files as they are, for the next start to look at."""
        os.close(self._fd)

    def _note(self, marks: tuple[int, ...]) -> None:
        write_kept(self._beside, json.encode(_Known(self._wal_inode or 0, list(marks))).decode(), mode=0o600)

    def _mark(self) -> int:
        return int.from_bytes(os.pread(self._fd, _MARK_BYTES, _MARK_BYTE), "big")

    def _known(self) -> _Known | None:
        try:
            return json.decode(self._beside.read_bytes(), type=_Known)
        except (OSError, DecodeError):
            return None


def new_mark() -> int:
    """Draw a mark for a file, which no other file has."""
    return secrets.randbelow(2**31 - 1) + 1


def wal_of(path: Path) -> Path:
    """Name the WAL that SQLite keeps of a file."""
    file = path.resolve()
    return file.with_name(f"{file.name}-wal")


def _marks_in(wal: Path) -> list[int]:
    """Find the marks in a WAL, in the order of its frames; those that SQLite does not use any more, too."""
    with wal.open("rb") as file:
        header = file.read(_WAL_HEADER_BYTES)
        page = int.from_bytes(header[8:12], "big")
        if len(header) < _WAL_HEADER_BYTES or page < _LEAST_PAGE_BYTES:
            return []
        marks = []
        at_mark = _FRAME_HEADER_BYTES + _MARK_BYTE
        for at in range(_WAL_HEADER_BYTES, os.fstat(file.fileno()).st_size, _FRAME_HEADER_BYTES + page):
            frame = os.pread(file.fileno(), at_mark + _MARK_BYTES, at)
            if int.from_bytes(frame[:4], "big") == 1 and len(frame) == at_mark + _MARK_BYTES:
                marks.append(int.from_bytes(frame[at_mark:], "big"))
        return marks


def set_aside(path: Path, *, only_wal: bool = False) -> Path | None:
    """Rename a file together with its WAL, or the WAL alone, so that both can still be opened under the new name.

    A rollback journal, which a tool may have left, is renamed with the file: SQLite would apply it to the next one.

    :param path: of the file, links included.
    :return: what was renamed, by its new name; None: there was nothing.
    """
    file = path.resolve()
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    aside = file.with_name(f"{file.name}.before-{stamp}")
    count = 1
    while aside.exists() or aside.with_name(f"{aside.name}-wal").exists():
        count += 1
        aside = file.with_name(f"{file.name}.before-{stamp}-{count}")
    renamed = None
    wal, aside_wal = wal_of(file), aside.with_name(f"{aside.name}-wal")
    if not only_wal and file.exists():  # first: without its WAL it would be an older state, with nothing that says so
        file.rename(aside)
        renamed = aside
    if wal.exists():
        wal.rename(aside_wal)
        renamed = renamed or aside_wal
    journal = file.with_name(f"{file.name}-journal")
    if not only_wal and journal.exists():
        journal.rename(aside.with_name(f"{aside.name}-journal"))
    for ending in ("-shm", "-mark"):
        file.with_name(f"{file.name}{ending}").unlink(missing_ok=True)
    return renamed


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _who_locks(descriptor: int) -> str:
    """Name the process that has locked a file, in words; empty: that cannot be seen from here."""
    inode = os.fstat(descriptor).st_ino
    with suppress(OSError):
        for line in Path("/proc/locks").read_text(encoding="ascii", errors="replace").splitlines():
            words = line.split()
            if len(words) > 5 and words[1] == "FLOCK" and words[5].endswith(f":{inode}"):
                return f", process {words[4]}"
    return ""
