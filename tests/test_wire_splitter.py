"""``cmmd.wire.splitter``: the documents come out the same, however the stream is cut."""

from collections.abc import Iterable

from hypothesis import example, given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from cmmd.wire.errors import EXCERPT, FrameError, Reason
from cmmd.wire.retcodes import Retcode
from cmmd.wire.splitter import MAX_DEPTH, MAX_FRAME, Splitter, _is_one_document
from tests.support import EXAMPLES, byte_by_byte, cut, places

Outcome = list[bytes | Reason]
"""What a splitter gave, in order: documents, and the reasons of its errors."""

BLANKS = [b" ", b"\n", b"\r\n", b"\t", b"\v\f", b"\0", b"\xef\xbb\xbf"]
SMALL_FRAME = 64
SMALL_DEPTH = 3


def take_all(splitter: Splitter) -> Outcome:
    outcome: Outcome = []
    while True:
        try:
            document = splitter.next_document()
        except FrameError as error:
            outcome.append(error.reason)
            continue
        if document is None:
            return outcome
        outcome.append(document)


def split(segments: Iterable[bytes], max_frame: int = MAX_FRAME, max_depth: int = MAX_DEPTH) -> Outcome:
    splitter = Splitter(max_frame, max_depth)
    outcome: Outcome = []
    for segment in segments:
        splitter.feed(segment)
        outcome += take_all(splitter)
        assert splitter.pending <= max_frame, "more than one document is held"
    return outcome


# --- strategies ------------------------------------------------------------------------------------------------------


def quoted(text: str, encoding: str) -> bytes:
    """A JSON string with only its quotes and backslashes escaped: control characters stand raw."""
    return b'"' + text.replace("\\", "\\\\").replace('"', '\\"').encode(encoding) + b'"'


def is_told_from_utf8(character: str) -> bool:
    """Whether the GB18030 bytes of a character cannot be the beginning of a UTF-8 sequence of three or four bytes."""
    encoded = character.encode("gb18030")
    return len(encoded) == 1 or not (0xE0 <= encoded[0] <= 0xF4 and 0x80 <= encoded[1] <= 0xBF)


ENDS_IN_BACKSLASH = [
    pair.decode("gb18030")
    for pair in (bytes([lead, 0x5C]) for lead in range(0x81, 0xFE))
    if is_told_from_utf8(pair.decode("gb18030"))
]
assert "乗" in ENDS_IN_BACKSLASH

utf8_texts = st.text(max_size=12)
gb18030_texts = st.lists(
    st.sampled_from(ENDS_IN_BACKSLASH) | st.characters(exclude_categories=["Cs"]).filter(is_told_from_utf8), max_size=12
).map("".join)
escapes = st.sampled_from([b'"\\u4e57\\ud83d\\ude00"', b'"\\\\"', b'"\\""', b'"\\\\\\""', b'"{\\"[\\/\\n"', b'"}]"'])
strings = (
    utf8_texts.map(lambda text: quoted(text, "utf-8"))
    | gb18030_texts.map(lambda text: quoted(text, "gb18030"))
    | escapes
)
ascii_strings = st.text(st.characters(max_codepoint=127, exclude_characters='"\\'), max_size=12).map(
    lambda text: quoted(text, "ascii")
)
numbers = (st.integers() | st.floats(allow_nan=False, allow_infinity=False)).map(lambda number: repr(number).encode())
scalars = st.sampled_from([b"true", b"false", b"null"]) | numbers


@st.composite
def documents(draw: st.DrawFn, strings: st.SearchStrategy[bytes] = strings) -> bytes:
    """Near-JSON objects up to 16 deep, in vendor style: any blanks, any kind of closer, commas that lack or trail."""
    values = st.one_of(scalars, strings)
    separators = st.sampled_from([b",", b", ", b" ", b"\n,\n"])

    def members() -> bytes:
        found = draw(st.lists(st.tuples(strings, values), max_size=3))
        return b"".join(key + b":" + value + draw(separators) for key, value in found)

    inner = draw(values)
    for _ in range(draw(st.integers(0, MAX_DEPTH - 1))):
        closer = draw(st.sampled_from([b"]", b"}"]))
        opener = draw(st.sampled_from([b"[", b'{"spine":']))
        inner = opener + inner + closer
    return b"{" + members() + b'"spine" : ' + inner + draw(separators) + members() + b"}"


blanks = st.lists(st.sampled_from(BLANKS), max_size=4).map(b"".join)
fragments = st.sampled_from(
    [
        *(bytes([byte]) for byte in b'{}[]":,\\x0 \n\0'),
        *BLANKS,
        b"{}",
        b'{"a":1}',
        b'{"a":"',
        b'"}',
        b"[[[[",
        b"]]]]",
        b"\xef",
        b"\xef\xbb",
        b"\xbb",
        b"\xe4",
        b"\xe4\xb8",
        b"\xe4\xb8\xad",
        b"\xf0\x9f",
        b"\xf0\x9f\x98\x80",
        b"\x81\x5c",
        b"\x81",
        b"\xff",
        b"y" * 30,
        b"\xe4\xb8\xad" * 11,
    ]
)
streams = st.lists(fragments | st.binary(max_size=8), max_size=60).map(b"".join)
"""Arbitrary bytes, most of them such as matter."""


# --- vectors ---------------------------------------------------------------------------------------------------------


class VectorTests(SynchronousTestCase):
    """Every example of the paper and of the field, fed in every way."""

    def test_whole(self) -> None:
        for one in EXAMPLES:
            self.assertEqual(split([one.wire]), [one.wire], one.name)

    def test_byte_by_byte(self) -> None:
        for one in EXAMPLES:
            self.assertEqual(split(byte_by_byte(one.wire)), [one.wire], one.name)

    def test_cut_at_every_place(self) -> None:
        for one in EXAMPLES:
            for place in range(len(one.wire) + 1):
                self.assertEqual(split(cut(one.wire, [place])), [one.wire], f"{one.name} cut at {place}")

    def test_concatenated(self) -> None:
        expected: Outcome = [one.wire for one in EXAMPLES]
        for between in (b"", *BLANKS):
            stream = between.join(one.wire for one in EXAMPLES)
            self.assertEqual(split([stream]), expected)
            self.assertEqual(split(byte_by_byte(stream)), expected)

    def test_concatenation_cut_at_every_place(self) -> None:
        expected: Outcome = [one.wire for one in EXAMPLES]
        stream = b"".join(one.wire for one in EXAMPLES)
        for place in range(len(stream) + 1):
            self.assertEqual(split(cut(stream, [place])), expected, f"cut at {place}")


# --- documents -------------------------------------------------------------------------------------------------------


class DocumentTests(SynchronousTestCase):
    """Documents come out as they went in."""

    @given(st.lists(st.tuples(blanks, documents()), max_size=5), blanks, places())
    def test_any_documents_cut_anywhere(
        self, spaced: list[tuple[bytes, bytes]], trailing: bytes, cuts: list[int]
    ) -> None:
        expected: Outcome = [document for _, document in spaced]
        stream = b"".join(blank + document for blank, document in spaced) + trailing
        self.assertEqual(split([stream]), expected)
        self.assertEqual(split(cut(stream, cuts)), expected)
        self.assertEqual(split(byte_by_byte(stream)), expected)

    def test_segments_of_whole_documents_that_wait(self) -> None:
        splitter = Splitter()
        splitter.feed(b'{"a":1}')
        splitter.feed(b'{"b":2}')
        splitter.feed(b'{"c":')
        self.assertEqual(splitter.pending, 19)
        self.assertEqual(take_all(splitter), [b'{"a":1}', b'{"b":2}'])
        self.assertEqual(splitter.pending, 5)
        splitter.feed(b"3}")
        self.assertEqual(take_all(splitter), [b'{"c":3}'])
        self.assertEqual(splitter.pending, 0)

    def test_pending_counts_a_whole_document(self) -> None:
        splitter = Splitter()
        splitter.feed(b'{"a":1}')
        self.assertEqual(splitter.pending, 7)

    def test_between_documents(self) -> None:
        for begun, between in ((b"", True), (b'{"a":1}', False), (b'{"a":', False), (b"  ", False)):
            splitter = Splitter()
            splitter.feed(begun)
            self.assertEqual(splitter.between, between, begun)
        take_all(splitter)
        self.assertTrue(splitter.between)
        splitter.feed(b"garbage")
        self.assertRaises(FrameError, splitter.next_document)
        self.assertIsNone(splitter.next_document())
        self.assertFalse(splitter.between)

    def test_gb18030_backslash_before_the_closing_quote(self) -> None:
        document = b'{"hostname":"' + "乗".encode("gb18030") + b'","hostid":"A"}'
        for place in range(len(document) + 1):
            self.assertEqual(split(cut(document * 2, [place])), [document, document])

    def test_blanks_between_documents_are_skipped_also_when_cut(self) -> None:
        for blank in BLANKS:
            stream = blank + b"{}" + blank + blank + b"{}" + blank
            for place in range(len(stream) + 1):
                self.assertEqual(split(cut(stream, [place])), [b"{}", b"{}"], blank)

    def test_nothing(self) -> None:
        self.assertEqual(split([]), [])
        self.assertEqual(split([b"", b" ", b""]), [])


# --- errors ----------------------------------------------------------------------------------------------------------


class GarbageTests(SynchronousTestCase):
    """Bytes that cannot begin an object."""

    @given(
        st.lists(st.tuples(blanks, st.binary(min_size=1, max_size=40), documents()), max_size=4),
        places(),
    )
    def test_garbage_loses_only_itself(self, parts: list[tuple[bytes, bytes, bytes]], cuts: list[int]) -> None:
        stream = b""
        expected: Outcome = []
        for blank, noise, document in parts:
            garbage = b"x" + noise.replace(b"{", b"[")  # begins no blank and no document
            stream += blank + garbage + document
            expected += [Reason.GARBAGE, document]
        self.assertEqual(split([stream]), expected)
        self.assertEqual(split(cut(stream, cuts)), expected)
        self.assertEqual(split(byte_by_byte(stream)), expected)

    def test_a_whole_document_in_its_own_segment_ends_the_run(self) -> None:
        self.assertEqual(split([b"x", b"{}", b"y", b"{}"]), [Reason.GARBAGE, b"{}", Reason.GARBAGE, b"{}"])

    def test_half_a_bom(self) -> None:
        for begun in (b"\xef", b"\xef\xbb"):
            self.assertEqual(split([begun]), [])
            self.assertEqual(split([begun, b"{}"]), [Reason.GARBAGE, b"{}"])

    def test_one_error_more_for_each_further_frame_length(self) -> None:
        for length in range(1, 4 * SMALL_FRAME + 2):
            expected = [Reason.GARBAGE] * (1 + (length - 1) // SMALL_FRAME) + [b"{}"]
            stream = b"x" * length + b"{}"
            self.assertEqual(split([stream], SMALL_FRAME), expected, f"{length} bytes")
            self.assertEqual(split(byte_by_byte(stream), SMALL_FRAME), expected, f"{length} bytes")

    def test_the_error_shows_the_beginning_of_what_was_refused(self) -> None:
        for stream in (b"GET / HTTP/1.1" + b"x" * 100, document_of(SMALL_FRAME + 40), b"{[[[" + b"x" * 100):
            splitter = Splitter(max_frame=SMALL_FRAME, max_depth=SMALL_DEPTH)
            splitter.feed(stream)
            error = self.assertRaises(FrameError, splitter.next_document)
            self.assertEqual(error.said, stream[:EXCERPT])

    def test_the_error_is_raised_at_the_first_byte(self) -> None:
        splitter = Splitter()
        splitter.feed(b"]")
        error = self.assertRaises(FrameError, splitter.next_document)
        self.assertEqual(error.reason, Reason.GARBAGE)
        self.assertEqual(error.retcode, Retcode.NOT_UNDERSTOOD)
        self.assertEqual(str(error), "not a JSON object")
        self.assertIsNone(splitter.next_document())


def document_of(length: int) -> bytes:
    return b'{"a":"' + b"x" * (length - 8) + b'"}'


class LimitTests(SynchronousTestCase):
    """Documents too long or too deep."""

    def test_the_longest_document_is_taken_and_one_byte_more_refused(self) -> None:
        for max_frame in (SMALL_FRAME, MAX_FRAME):
            longest, too_long = document_of(max_frame), document_of(max_frame + 1)
            for stream, expected in ((longest, longest), (too_long, Reason.OVERSIZE)):
                self.assertEqual(split([stream + b"{}"], max_frame), [expected, b"{}"])
                self.assertEqual(split([stream, b"{}"], max_frame), [expected, b"{}"])
                self.assertEqual(split(byte_by_byte(stream + b"{}"), max_frame), [expected, b"{}"])

    def test_one_error_more_for_each_further_frame_length(self) -> None:
        for length in range(SMALL_FRAME + 1, 4 * SMALL_FRAME + 2):
            expected = [Reason.OVERSIZE] * ((length - 1) // SMALL_FRAME) + [b"{}"]
            stream = document_of(length) + b"{}"
            self.assertEqual(split([stream], SMALL_FRAME), expected, f"{length} bytes")
            self.assertEqual(split(byte_by_byte(stream), SMALL_FRAME), expected, f"{length} bytes")

    def test_a_full_buffer_without_an_end_is_refused_at_once(self) -> None:
        self.assertEqual(split([document_of(SMALL_FRAME + 1)[:SMALL_FRAME]], SMALL_FRAME), [Reason.OVERSIZE])

    def test_the_error_says_the_limit(self) -> None:
        splitter = Splitter(max_frame=SMALL_FRAME)
        splitter.feed(document_of(SMALL_FRAME + 1))
        self.assertEqual(str(self.assertRaises(FrameError, splitter.next_document)), "longer than 64 bytes")

    def test_the_deepest_document_is_taken_and_one_level_more_refused(self) -> None:
        for max_depth in (1, SMALL_DEPTH, MAX_DEPTH):
            deepest = b'{"a":' * max_depth + b"1" + b"}" * max_depth
            too_deep = b'{"a":' + deepest + b"}"
            for stream, expected in ((deepest, deepest), (too_deep, Reason.DEPTH)):
                self.assertEqual(split([stream], max_depth=max_depth), [expected])
                self.assertEqual(split([stream + b"{}"], max_depth=max_depth), [expected, b"{}"])
                self.assertEqual(split(byte_by_byte(stream + b"{}"), max_depth=max_depth), [expected, b"{}"])

    def test_a_flood_of_openers_is_one_error_a_frame_length(self) -> None:
        stream = b"{[" * SMALL_FRAME
        expected = [Reason.DEPTH, Reason.OVERSIZE]
        self.assertEqual(split([stream], SMALL_FRAME, SMALL_DEPTH), expected)
        self.assertEqual(split(byte_by_byte(stream), SMALL_FRAME, SMALL_DEPTH), expected)

    def test_a_string_without_an_end_is_not_kept(self) -> None:
        splitter = Splitter(max_frame=SMALL_FRAME)
        splitter.feed(b'{"')
        for _ in range(100):
            splitter.feed(b"\xe4\xb8" * 30)
            self.assertLessEqual(set(take_all(splitter)), {Reason.OVERSIZE})
            self.assertLessEqual(splitter.pending, SMALL_FRAME)


# --- arbitrary bytes -------------------------------------------------------------------------------------------------


class ArbitraryBytesTests(SynchronousTestCase):
    """Nothing but FrameError, bounded memory (both held by :func:`split`), no dependence on the segmentation."""

    @given(streams, places(200))
    @example(b'{"\xef\xbb', [4])
    @example(b"{" + b'"\\' * SMALL_FRAME, [SMALL_FRAME, SMALL_FRAME + 1])
    def test_the_outcome_is_independent_of_the_segmentation(self, stream: bytes, cuts: list[int]) -> None:
        whole = split([stream], SMALL_FRAME, SMALL_DEPTH)
        self.assertEqual(split(cut(stream, cuts), SMALL_FRAME, SMALL_DEPTH), whole)
        self.assertEqual(split(byte_by_byte(stream), SMALL_FRAME, SMALL_DEPTH), whole)

    @given(streams)
    def test_documents_stand_in_the_stream_in_order(self, stream: bytes) -> None:
        found = [one for one in split([stream], SMALL_FRAME, SMALL_DEPTH) if isinstance(one, bytes)]
        rest = stream
        for document in found:
            self.assertTrue(document.startswith(b"{") and document.endswith((b"}", b"]")))
            self.assertLessEqual(len(document), SMALL_FRAME)
            self.assertIn(document, rest)
            rest = rest.partition(document)[2]

    @given(streams)
    def test_no_error_repeats_without_a_reason(self, stream: bytes) -> None:
        """Never more errors than documents begun, runs of garbage and further frame lengths allow."""
        outcome = split([stream], SMALL_FRAME, SMALL_DEPTH)
        errors = sum(isinstance(one, Reason) for one in outcome)
        self.assertLessEqual(errors, stream.count(b"{") * 2 + 1 + len(stream) // SMALL_FRAME)


# --- the fast path ---------------------------------------------------------------------------------------------------

almost_documents = st.one_of(
    documents(ascii_strings),
    st.builds(bytes.__add__, documents(ascii_strings), documents(ascii_strings)),
    st.lists(st.sampled_from([b"{", b"}", b"[", b"]", b'"', b'\\"', b"a"]), max_size=10).map(
        lambda parts: b"{" + b"".join(parts) + b"}"
    ),
    streams,
)


class FastPathTests(SynchronousTestCase):
    """A segment that is one document is told without a scan, and never wrongly."""

    @given(almost_documents, st.integers(1, MAX_DEPTH))
    def test_it_never_disagrees_with_the_scan(self, segment: bytes, max_depth: int) -> None:
        by_scan = split(byte_by_byte(segment), max_depth=max_depth)
        if _is_one_document(segment, max_depth):
            self.assertEqual(by_scan, [segment])
        self.assertEqual(split([segment], max_depth=max_depth), by_scan)

    @given(documents(ascii_strings))
    def test_it_is_taken_for_every_plain_document(self, document: bytes) -> None:
        self.assertTrue(_is_one_document(document, MAX_DEPTH))

    def test_what_the_field_sends_takes_it(self) -> None:
        for one in EXAMPLES:
            self.assertTrue(_is_one_document(one.wire, MAX_DEPTH), one.name)

    def test_in_doubt_it_says_no(self) -> None:
        doubtful = [
            b"",
            b"{",
            b"{}{}",
            b"{}]{[}",
            b'{"a":"}',
            b'{"a":"\\""}',
            b'{"\\"":{,"\\"":2}',
            '{"a":"乗"}'.encode(),
            b" {}",
            b"{} ",
            b"[]",
            b'{"}":{}',
        ]
        for segment in doubtful:
            self.assertFalse(_is_one_document(segment, MAX_DEPTH), segment)
