"""Pages fit into AMP's values, and together they are the whole list."""

import json

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Struct
from twisted.protocols.amp import MAX_VALUE_LENGTH
from twisted.trial.unittest import SynchronousTestCase

from cmmd.control.boxes import PAGE_BYTES, fill
from tests import support  # noqa: F401 - hypothesis' settings


class Row(Struct):
    text: str


ROWS = st.lists(st.builds(Row, st.text(max_size=20) | st.integers(0, 400).map("ü".__mul__)), max_size=40)


class FillTests(SynchronousTestCase):
    def test_fits_into_a_value(self) -> None:
        self.assertLess(PAGE_BYTES, MAX_VALUE_LENGTH)
        filled = fill(Row("x" * 100) for _ in range(10_000))
        self.assertTrue(filled.full)
        self.assertTrue(PAGE_BYTES - 200 < len(bytes(filled.text)) <= PAGE_BYTES, len(bytes(filled.text)))

    def test_nothing(self) -> None:
        filled = fill([])
        self.assertEqual((bytes(filled.text), filled.count, filled.full), (b"[]", 0, False))

    def test_one_that_is_too_long(self) -> None:
        long, short = Row("x" * 100_000), Row("y")
        filled = fill([long, short])
        self.assertEqual((filled.count, filled.full), (1, True))
        self.assertEqual(json.loads(bytes(filled.text)), [{"text": "x" * 100_000}])
        self.assertEqual(fill([short, long]).count, 1)

    @given(ROWS, st.integers(10, 500))
    def test_pages_together_are_the_list(self, rows: list[Row], budget: int) -> None:
        seen: list[Row] = []
        while True:
            filled = fill(rows[len(seen) :], budget)
            page = msgspec.json.decode(filled.text, type=list[Row])
            self.assertEqual(len(page), filled.count)
            self.assertTrue(filled.count <= 1 or len(bytes(filled.text)) <= budget)
            seen += page
            if not filled.full:
                break
        self.assertEqual(seen, rows)
