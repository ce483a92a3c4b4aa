"""Places in long lists come back as they were handed out."""

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from cmmd.fleet.errors import BadArgument
from cmmd.fleet.service.records import cursor_from, cursor_text
from cmmd.store.records import Cursor
from tests import support  # noqa: F401 - hypothesis' settings


class CursorTests(SynchronousTestCase):
    @given(st.integers(-(2**62), 2**62), st.integers(0, 2**62))
    def test_comes_back(self, at: int, number: int) -> None:
        self.assertEqual(cursor_from(cursor_text(Cursor(at, number))), Cursor(at, number))

    def test_none(self) -> None:
        self.assertIsNone(cursor_from(None))

    def test_garbage(self) -> None:
        for text in ("", "1", "1.", ".1", "1.-1", "1.2.3", " 1.2", "1.2\n", "١.٢", "9" * 20 + ".1"):
            self.assertRaises(BadArgument, cursor_from, text)
