"""Translate PostgreSQL's errors into errors of a store."""

import psycopg2

from cmmd.store.interface import StoreError, StoreTaken, StoreUnavailable

__all__ = ["OWN_SESSION", "SHARED", "NotOwner", "Rejected", "Unavailable", "as_store_error", "one_line"]


class Rejected(StoreError):
    """The database rejects the values.

    :ivar sqlstate: PostgreSQL's code for what it is.
    """

    def __init__(self, message: str, sqlstate: str) -> None:
        super().__init__(message)
        self.sqlstate = sqlstate


class Unavailable(StoreUnavailable):
    """The database did not take it now.

    :ivar sqlstate: PostgreSQL's code for why; empty: it did not say.
    """

    def __init__(self, message: str, sqlstate: str = "") -> None:
        super().__init__(message)
        self.sqlstate = sqlstate


class NotOwner(Unavailable, StoreTaken):
    """Another daemon owns the database: it accepts no more rows of this one."""


OWN_SESSION = "cmmd_own_session_"
"""How the names of statements begin that only one session has prepared."""

SHARED = (
    "a pooler hands its sessions to other clients between two transactions (PgBouncer with pool_mode transaction or"
    " statement): use PostgreSQL's own address in [store] url, or a pool with pool_mode = session"
)
"""Why cmmd does not use a database behind such a pooler: locks and settings of a session would be another client's."""

_NO_SUCH_STATEMENT = "26000"

_OF_VALUES = ("22", "23", "54")
"""Classes of codes: data exceptions, violated constraints, more than an index can take."""


def as_store_error(error: Exception, name: str) -> Rejected | Unavailable:
    """Translate an error of psycopg2 or of the system.

    :param name: of the database, for the message.
    """
    sqlstate = (error.pgcode if isinstance(error, psycopg2.Error) else None) or ""
    said = one_line(error)
    is_shared = sqlstate == _NO_SUCH_STATEMENT and OWN_SESSION in said
    message = f"{name}: {SHARED if is_shared else said}"
    return Rejected(message, sqlstate) if sqlstate.startswith(_OF_VALUES) else Unavailable(message, sqlstate)


def one_line(error: Exception) -> str:
    """Cut an error's text to its first line."""
    said = str(error)
    if isinstance(error, OSError) and error.strerror:
        said = f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return next((line.strip() for line in said.splitlines() if line.strip()), type(error).__name__)
