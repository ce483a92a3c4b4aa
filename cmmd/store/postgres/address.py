"""The address of a PostgreSQL database, and the credentials for it."""

import os
import re
import socket
from collections.abc import Mapping
from errno import EILSEQ, EINVAL
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import psycopg2
from psycopg2.extensions import parse_dsn

__all__ = ["Address"]

_DEFAULTS: Mapping[str, Any] = {
    "application_name": "cmmd",
    "gssencmode": "disable",  # to ask a Kerberos server would block
    "target_session_attrs": "read-write",  # of several hosts that one; a standby is no store
    "keepalives": 1,
    "keepalives_idle": 30,  # seconds
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 20_000,  # milliseconds that what was sent may stay unconfirmed
}
"""What libpq is told where the URL says nothing else."""

_IMPOSED: Mapping[str, Any] = {"client_encoding": "UTF8"}
"""What it is told in any case."""


class Address:
    """A database, from a URL as libpq takes it.

    What libpq itself finds (``PGPASSWORD``, ``~/.pgpass``, ``PGHOST`` and so on) counts as usual.

    :param url: ``postgresql://[user[:password]@]host[:port]/database[?option=value...]``.
    :param password_file: its first line is the password, read anew for each connection; None: it comes another way.
    :ivar name: names the database in messages; without a password, whatever is wrong with the URL.
    :raises ValueError: it is none; one line that says what is wrong, without any part of it.
    """

    def __init__(self, url: str, password_file: Path | None = None) -> None:
        try:
            given = parse_dsn(url)
        except (psycopg2.Error, UnicodeError, ValueError):
            raise ValueError(f"not a URL of PostgreSQL; it looks like {_EXAMPLE}") from None
        hosts, ports, database = (given.get(name, "") for name in ("host", "port", "dbname"))
        # An odd character in a password makes the rest of it a host, a port or a database, which messages name.
        if not re.fullmatch(r"[0-9,]*", ports) or "@" in database or "@" in hosts[1:]:
            raise ValueError(f"its host, port or database is none; in a password / is %2F and @ is %40: {_EXAMPLE}")
        self._given = {name: value for name, value in given.items() if value}
        self._password_file = password_file
        where = hosts or given.get("hostaddr") or os.environ.get("PGHOST", "")
        self.name = f"postgresql://{where}{':' if ports else ''}{ports}/{database}"

    def settings(self) -> dict[str, Any]:
        """The arguments for ``psycopg2.connect``.

        :raises OSError: the file with the password cannot be read.
        """
        settings = {**_DEFAULTS, **self._given, **_IMPOSED}
        if self._password_file is not None:
            settings["password"] = _first_line(self._password_file)
        return settings

    def resolved_settings(self) -> dict[str, Any]:
        """The same, with the addresses of the host: libpq looks for them in the calling thread. This blocks, too.

        :raises OSError: the host is unknown, or the file with the password cannot be read.
        """
        settings = self.settings()
        host = settings.get("host") or os.environ.get("PGHOST", "")
        if host and not _needs_no_lookup(host) and not (settings.get("hostaddr") or os.environ.get("PGHOSTADDR")):
            try:
                found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
            except UnicodeError:
                raise OSError(EINVAL, "no name of a host") from None
            addresses = list(dict.fromkeys(str(address[0]) for *_, address in found))
            settings["host"] = ",".join([host] * len(addresses))
            settings["hostaddr"] = ",".join(addresses)
        return settings


_EXAMPLE = "postgresql://user:password@host:5432/database"


def _first_line(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8").partition("\n")[0].rstrip("\r")
    except UnicodeDecodeError:
        raise OSError(EILSEQ, "not UTF-8", str(file)) from None


def _needs_no_lookup(host: str) -> bool:
    if host.startswith(("/", "@")) or "," in host:  # Unix sockets; several
        return True
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
