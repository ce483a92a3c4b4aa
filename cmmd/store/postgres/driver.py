"""The one module that knows what txpostgres keeps for itself.

txpostgres has no public way to carry a function out under its lock, to find the cursors that a closed connection leaves
behind, or to choose which of a pool's connections answers. Each private name is listed in PRIVATES and has one method
here. When a new txpostgres fails ``tests/test_privates.py``: look for the name's successor in
``txpostgres/txpostgres.py`` and change the method; where there is none, setup.cfg gets an upper bound until there is
another way.
"""

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from txpostgres.txpostgres import Connection, ConnectionPool, Cursor

__all__ = ["PRIVATES", "DriverConnection", "DriverCursor", "DriverPool"]

PRIVATES: dict[type, tuple[str, ...]] = {
    Connection: ("_connection", "_cursors", "_doit"),
    Cursor: ("_connection",),
    ConnectionPool: ("_runQuery", "_putBackAndPassthrough"),
}
"""Attributes by class."""


class DriverCursor(Cursor):  # type: ignore[misc]
    """A cursor that is watched at the descriptor of its connection."""

    def fileno(self) -> int:
        """Return the descriptor of the cursor's connection."""
        return self._connection.fileno()  # type: ignore[no-any-return]


class DriverConnection(Connection):  # type: ignore[misc]
    """A connection whose private state has public names."""

    cursorFactory = DriverCursor

    @property
    def raw(self) -> Any:
        """The connection of psycopg2; None: there is none."""
        return self._connection

    def one_at_a_time(self, function: Callable[..., Deferred[Any]], *arguments: object) -> Deferred[Any]:
        """Call a function once those before it have ended."""
        return self._doit(function, *arguments)  # type: ignore[no-any-return]

    def unwatch_cursors(self) -> None:
        """Keep the reactor from watching for cursors whose connection is about to be closed."""
        for cursor in self._cursors:
            self.reactor.removeReader(cursor)
            self.reactor.removeWriter(cursor)


class DriverPool(ConnectionPool):  # type: ignore[misc]
    """A pool that asks which of its connections is to answer."""

    def choose(self) -> Any:
        """Choose one of ``connections``; to be overridden."""
        raise NotImplementedError

    def _runQuery(self, *arguments: Any, **named: Any) -> Deferred[Any]:
        chosen = self.choose()
        self.connections.remove(chosen)
        answered: Deferred[Any] = chosen.runQuery(*arguments, **named)
        return answered.addBoth(self._putBackAndPassthrough, chosen)
