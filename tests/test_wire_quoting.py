"""What peers wrote, made fit for a log."""

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from cmmd.wire.quoting import LONGEST, printable, quoted


class QuotedTests(SynchronousTestCase):
    @given(st.text() | st.binary() | st.integers())
    def test_one_short_printable_line(self, text: object) -> None:
        line = quoted(text)
        self.assertTrue(line.isprintable() and line.isascii())
        self.assertLessEqual(len(line), LONGEST + 3)

    def test_readable_where_it_can_be(self) -> None:
        self.assertEqual(quoted(b"GET / HTTP/1.1\r\n\x1b[31m"), r"'GET / HTTP/1.1\r\n\x1b[31m'")
        self.assertEqual(quoted("\x1b[31mü"), r"'\x1b[31m\xfc'")
        self.assertEqual(quoted("a" * 118), f"'{'a' * 118}'")
        self.assertEqual(quoted("a" * 119), f"'{'a' * 119}...")

    def test_no_passwords(self) -> None:
        for text in (
            '{"password":"s3cret"}',
            '{"Password" : "s3cret", "a": 1}',
            '{"params":"{\\"password\\":\\"s3cret\\"}"}',
            '{"password": s3cret}',
            '{"password":"s3cret',
            '{"password":"a,s3cret"}',
            '{"password":["}s3cret"]',
            '{"password" "s3cret"}',
            '{"p\\u0061ssword":"s3cret"}',
        ):
            for said in (text, text.encode(), text.encode() + b"\xff"):
                self.assertNotIn("s3c", quoted(said), text)
                self.assertIn("***", quoted(said), text)


class PrintableTests(SynchronousTestCase):
    @given(st.text(st.characters()))
    def test_one_line_of_the_same_length_that_can_be_stored(self, text: str) -> None:
        line = printable(text)
        self.assertTrue(line.isprintable())
        self.assertEqual(len(line), len(text))
        self.assertEqual(line.encode().decode(), line)
        self.assertEqual(printable(line), line)

    def test_what_becomes_of_it(self) -> None:
        self.assertEqual(printable("Grüße, 发电机 1"), "Grüße, 发电机 1")
        self.assertEqual(printable(" a\r\nb\x1b[31m\0\u2028\u202ec\ud800 "), " a  b [31m   c  ")
