"""``cmmd.wire.lenient``: near-JSON to objects, and nothing but FrameError for the rest."""

import json
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from cmmd.wire import lenient
from cmmd.wire.errors import EXCERPT, FrameError, Reason
from cmmd.wire.retcodes import Retcode
from cmmd.wire.splitter import MAX_DEPTH
from tests.support import EXAMPLES

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
numbers = st.integers(-(10**32) + 1, 10**32 - 1) | st.floats(allow_nan=False, allow_infinity=False)
values = st.recursive(
    st.none() | st.booleans() | numbers | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=12,
)
objects = st.dictionaries(texts, values, max_size=6)

FRAGMENTS = '{}[]":,\\ 0123456789.eE+-\n\0truefalsnE\ud83d\ude00\ud800"u乗'
near_json = st.text(st.sampled_from(FRAGMENTS), max_size=40).map(
    lambda text: ('{"a":' + text).encode(errors="surrogatepass")
)
mutilated = st.tuples(objects, st.integers(0, 200), st.integers(0, 3), st.binary(max_size=3)).map(
    lambda parts: _replaced(json.dumps(parts[0]).encode(), *parts[1:])
)


def _replaced(document: bytes, place: int, length: int, by: bytes) -> bytes:
    return document[:place] + by + document[place + length :]


class VectorTests(SynchronousTestCase):
    """Every example decodes to its object."""

    def test_lenient(self) -> None:
        for one in EXAMPLES:
            self.assertEqual(lenient.decode(one.wire), one.object, one.name)

    def test_strict_where_the_vector_says_so(self) -> None:
        for one in EXAMPLES:
            if one.strict_json:
                self.assertEqual(json.loads(one.wire), one.object, one.name)
            else:
                self.assertRaises(ValueError, json.loads, one.wire)

    def test_key_order_is_kept(self) -> None:
        for one in EXAMPLES:
            self.assertEqual(json.dumps(lenient.decode(one.wire)), json.dumps(one.object), one.name)


class AcceptedTests(SynchronousTestCase):
    """JSON, and what protocol section 2 adds to it."""

    @given(objects, st.booleans(), st.sampled_from([None, 0, 2]))
    def test_strict_json_decodes_as_json_says(
        self, found: dict[str, Any], ascii_only: bool, indent: int | None
    ) -> None:
        document = json.dumps(found, ensure_ascii=ascii_only, indent=indent).encode()
        self.assertEqual(lenient.decode(document, max_depth=100), found)

    def test_beyond_json(self) -> None:
        accepted: list[tuple[bytes, dict[str, object]]] = [
            (b'{"a":1,}', {"a": 1}),
            (b'{"a":[1,2,],}', {"a": [1, 2]}),
            (b'{"a":1 "b":2}', {"a": 1, "b": 2}),
            (b'{"a":"x""b":2}', {"a": "x", "b": 2}),
            (b'{"a":{}"b":[]"c":0}', {"a": {}, "b": [], "c": 0}),
            (b'{"a":[{"b":1}}}', {"a": [{"b": 1}]}),
            (b'{"a":[1]]', {"a": [1]}),
            (b'{"a":"x\ny\0z\t"}', {"a": "x\ny\0z\t"}),
            (b' \0\t\v\f\r\n{ "a"\0:\v1\f}\r\n\0', {"a": 1}),
            (b'{"a":1,"a":2}', {"a": 2}),
        ]
        for document, expected in accepted:
            self.assertEqual(lenient.decode(document), expected, document)

    def test_gb18030_where_it_is_not_utf8(self) -> None:
        for name in ("发电机", "乗", "一号机组乗", "𠀀"):
            document = '{"hostname":"' + name + '"}'
            self.assertEqual(lenient.decode(document.encode("utf-8")), {"hostname": name})
            self.assertEqual(lenient.decode(document.encode("gb18030")), {"hostname": name})

    def test_bytes_of_no_encoding_are_replaced(self) -> None:
        self.assertEqual(lenient.decode(b'{"a":"\xff"}'), {"a": "\ufffd"})

    def test_lone_surrogates_are_replaced(self) -> None:
        self.assertEqual(lenient.decode(b'{"\\ud800":"\\udc00x\\ud83d\\ude00"}'), {"\ufffd": "\ufffdx😀"})

    def test_numbers(self) -> None:
        for text in ("0", "-0", "12", "-1.5", "1e3", "1E-3", "1.25e+10", "9" * 32, "0." + "3" * 32):
            self.assertEqual(lenient.decode(b'{"a":%s}' % text.encode()), {"a": json.loads(text)}, text)

    def test_an_object_in_a_text(self) -> None:
        self.assertEqual(lenient.decode_object('{"hostname":"乗",}'), {"hostname": "乗"})


class RefusedTests(SynchronousTestCase):
    """Everything else: FrameError, and only that."""

    def test_not_near_json(self) -> None:
        refused = [
            b"",
            b" ",
            b"1",
            b"[]",
            b"null",
            b'"{}"',
            b"{",
            b"{}x",
            b"{}{}",
            b"{,}",
            b"{a:1}",
            b"{'a':1}",
            b'{"a"}',
            b'{"a" 1}',
            b'{"a":}',
            b'{"a":1,,}',
            b'{"a":1',
            b'{"a":"x',
            b'{"a":"\\x"}',
            b'{"a":"\\u12"}',
            b'{"a":[1 2]}',
            b'{"a":[,]}',
            b'{"a":[1',
            b'{"a":truex}',
            b'{"a":True}',
            b'{"a":NaN}',
            b'{"a":Infinity}',
            b'{"a":-Infinity}',
            b'{"a":1e999}',
            b'{"a":-1e999}',
            b'{"a":1.}',
            b'{"a":.5}',
            b'{"a":01}',
            b'{"a":+1}',
            b'{"a":1e}',
            b'{"a":0x10}',
            b'{"a":1_000}',
            b'{"a":' + "１".encode() + b"}",
            b'{"a":' + b"9" * 5000 + b"}",
            b'{"a":1.' + b"9" * 5000 + b"}",
            b'{"a":1e' + b"9" * 5000 + b"}",
        ]
        for document in refused:
            error = self.assertRaises(FrameError, lenient.decode, document)
            self.assertEqual((error.reason, error.retcode), (Reason.SYNTAX, Retcode.NOT_UNDERSTOOD), document)
            self.assertRegex(str(error), r"\Anot JSON: .+ expected at character \d+\Z")

    def test_the_error_says_where_and_quotes_nothing_of_the_peer(self) -> None:
        error = self.assertRaises(FrameError, lenient.decode, b'{"a":evil}')
        self.assertEqual(str(error), "not JSON: a value expected at character 5")
        self.assertEqual(error.said, '{"a":evil}')

    def test_what_was_said_is_from_the_beginning(self) -> None:
        """From the middle it could be a password without the key that lets it be masked."""
        error = self.assertRaises(FrameError, lenient.decode, b'{"a":"' + b"x" * 100 + b'","\ud800":evil}')
        self.assertEqual(error.said, '{"a":"' + "x" * (EXCERPT - 6))

    def test_depth(self) -> None:
        for max_depth in (1, 3, MAX_DEPTH):
            for opener, closer in ((b'{"a":', b"}"), (b"[", b"]")):
                levels = max_depth - 1
                deepest = b'{"a":' + opener * levels + b"1" + closer * levels + b"}"
                lenient.decode(deepest, max_depth)
                too_deep = b'{"a":' + opener + deepest[5:-1] + closer + b"}"
                error = self.assertRaises(FrameError, lenient.decode, too_deep, max_depth)
                self.assertEqual(error.reason, Reason.DEPTH)

    def test_very_deep(self) -> None:
        for opener in (b'{"a":' * lenient.MAX_VALUES, b'{"a":' + b"[" * 100_000):
            error = self.assertRaises(FrameError, lenient.decode, opener)
            self.assertEqual(error.reason, Reason.DEPTH)

    def test_very_many_values(self) -> None:
        most = lenient.MAX_VALUES - 1  # one more stands before the list
        found = lenient.decode(b'{"a":[' + b"1," * most + b"]}")
        self.assertEqual(found, {"a": [1] * most})
        for too_many in (b'{"a":[' + b"1," * (most + 1) + b"]}", b'{"a":1' + b'"b":1' * (most + 1) + b"}"):
            error = self.assertRaises(FrameError, lenient.decode, too_many)
            self.assertEqual(error.reason, Reason.SYNTAX)
            self.assertIn(str(lenient.MAX_VALUES), str(error))

    @given(st.one_of(st.binary(max_size=40), near_json, mutilated))
    @example(b'{"a":"\xf0\x9f"}')
    @example(b'{"a":"\x81')
    def test_arbitrary_bytes(self, document: bytes) -> None:
        try:
            found = lenient.decode(document)
        except FrameError:
            return
        json.dumps(found, allow_nan=False, ensure_ascii=False).encode()  # text and finite numbers throughout
