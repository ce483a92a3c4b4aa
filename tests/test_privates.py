"""What cmmd uses of Twisted and txpostgres that these keep for themselves is there, and only one module each uses it.

A failure after an update of these libraries names the module to mend: its docstring says how.
"""

import inspect
import re

from twisted.trial.unittest import SynchronousTestCase
from twisted.web.http import HTTPChannel, _ChunkedTransferDecoder
from txpostgres.txpostgres import Connection, ConnectionPool, Cursor

from cmmd.store.postgres import driver
from cmmd.web.http import channel
from tests.support import REPOSITORY

SOURCES = {file: file.read_text(encoding="utf-8") for file in (REPOSITORY / "cmmd").rglob("*.py")}


class PrivatesTests(SynchronousTestCase):
    def test_http_channel(self) -> None:
        for name in channel.PRIVATES:
            known = hasattr(HTTPChannel(), name) or f"self.{name} = " in _source_of(HTTPChannel)
            self.assertTrue(known, f"HTTPChannel.{name}: see cmmd/web/http/channel.py")
        decoder = _ChunkedTransferDecoder(lambda _: None, lambda _: None)
        self.assertTrue(hasattr(decoder, "_maxTrailerHeadersSize"), "see cmmd/web/http/channel.py")

    def test_txpostgres(self) -> None:
        made = {Connection: Connection(), Cursor: Cursor, ConnectionPool: ConnectionPool}
        for kind, names in driver.PRIVATES.items():
            for name in names:
                known = hasattr(made[kind], name) or f"self.{name} = " in _source_of(kind)
                self.assertTrue(known, f"{kind.__name__}.{name}: see cmmd/store/postgres/driver.py")

    def test_one_module_each_uses_them(self) -> None:
        for home, names in (
            ("cmmd/web/http/channel.py", [*channel.PRIVATES, "_maxTrailerHeadersSize"]),
            ("cmmd/store/postgres/driver.py", ["_cursors", "_doit", "_runQuery", "_putBackAndPassthrough"]),
        ):
            pattern = re.compile(rf"\.({'|'.join(names)})\b")
            users = {str(file.relative_to(REPOSITORY)) for file, text in SOURCES.items() if pattern.search(text)}
            self.assertEqual(users, {home})


def _source_of(kind: type) -> str:
    return inspect.getsource(kind)
