"""``cmmd.wire.dialects``: what servers write differently reads the same, and no acknowledgement as an order."""

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from cmmd.gateway.link.acknowledgements import form_of
from cmmd.modbus.frames import parse_request
from cmmd.wire.dialects import acknowledges, echoes, has_a_frame, put_right
from cmmd.wire.errors import FrameError, MessageError
from cmmd.wire.messages import Answer, LoginAnswer, Reset, TimingAnswer, WriteConfig
from cmmd.wire.reading import read_from_server
from cmmd.wire.splitter import Splitter
from tests.support import byte_by_byte, compact, load_cases

FRAME = "00050003FF007DEB"
ORDER: dict[str, Any] = {"method": "writeConfig", "result": FRAME, "datatype": 1, "uid": "7"}

SAID: st.SearchStrategy[Any] = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**70), 2**70), st.floats(), st.text(max_size=9), st.just({}), st.just([1])
)


class EnvelopeTests(SynchronousTestCase):
    def test_keys_blanks_and_null(self) -> None:
        said = put_right({"Method": " HB\n", "MESSAGE": None, "retcode": "\u3000000000 ", "uid": " 7 "})
        self.assertEqual(said, {"method": "HB", "retcode": "000000", "uid": " 7 "})

    def test_retcodes(self) -> None:
        codes: list[tuple[Any, str]] = [
            (0, "000000"),
            ("0", "000000"),
            (3, "000003"),
            ("00000003", "000003"),
            ("OK", "OK"),
            (True, "True"),
            ("²", "²"),
            (0.0, "0.0"),
        ]
        for said, retcode in codes:
            self.assertEqual(put_right({"method": "HB", "retcode": said})["retcode"], retcode)
        nothing: list[Any] = ["", " ", None, {}, []]
        for said in nothing:
            self.assertNotIn("retcode", put_right({"method": "HB", "retcode": said}))

    def test_numbers_of_a_login_answer(self) -> None:
        said: Any
        for said, number in ((5, 5), ("5", 5), (5.0, 5), (2.5, 2.5), (True, 1), (" 7 ", 7), ("1e3", 1000)):
            result = put_right({"method": "login", "result": {"Online_Rate": said}})["result"]
            self.assertEqual(result, {"online_rate": number})
        for said in ("", "x", None, {}, [], "nan", float("inf"), 2**70, -(2**70), "9" * 400):
            self.assertEqual(put_right({"method": "login", "result": {"online_rate": said}})["result"], {})

    def test_texts_of_a_login_answer(self) -> None:
        result = put_right({"method": "login", "result": {"realTime": 1795932451434, "liveData": [], "other": " x "}})
        self.assertEqual(result["result"], {"realtime": "1795932451434", "livedata": "", "other": "x"})

    def test_our_own_messages_sent_back_confirm_nothing(self) -> None:
        for method in ("HB", "reqdata", "reqdatachange", "LongCon", "timing"):
            sent_back = {"method": method, "hostid": "A", "params": ""}
            self.assertTrue(echoes(sent_back))
            self.assertRaises(MessageError, read_from_server, compact(sent_back))
            self.assertIsInstance(read_from_server(compact({**sent_back, "retcode": "000000"})), Answer | TimingAnswer)
        self.assertFalse(echoes({"method": ["HB"], "hostid": "A"}))


class OrderTests(SynchronousTestCase):
    """An order is one only where nothing speaks against it."""

    def test_orders(self) -> None:
        changes: list[dict[str, Any]] = [
            {},
            {"datatype": None, "uid": None},
            {"retcode": "000000", "message": "ok", "packetnum": 1},
            {"result": f" {FRAME.lower()};{FRAME} "},
            {"result": None, "modulePort": 1},
            {"result": "", "moduleBaud": 0, "retcode": 0},
            {"result": ""},
            {"result": "not hex"},
        ]
        for change in changes:
            said = {**ORDER, **change}
            self.assertFalse(acknowledges(put_right(said)), said)
            self.assertIsInstance(read_from_server(compact(said)), WriteConfig)
        self.assertEqual(read_from_server(b'{"method":"reset "}'), Reset())

    @given(
        st.sampled_from([FRAME, "01030000005045F6"]),
        st.lists(st.sampled_from(["", " ", "\t", "\r\n"]), min_size=9, max_size=9),
    )
    def test_whatever_can_be_sent_is_seen(self, frame: str, blanks: list[str]) -> None:
        pairs = [frame[at : at + 2] for at in range(0, len(frame), 2)]
        spaced = blanks[8] + "".join(pair + blank for pair, blank in zip(pairs, blanks, strict=False))
        parse_request(spaced)
        for text in (spaced, f";{spaced}", f"x; {spaced}", f"{spaced},1"):
            self.assertTrue(has_a_frame(text), text)
            said = {"method": "writeConfig", "result": text, "uid": "7", "retcode": "000000"}
            self.assertIsInstance(read_from_server(compact(said)), WriteConfig)

    def test_acknowledgements(self) -> None:
        for case in load_cases("servers_in_service"):
            if "acknowledgement" in case["when"] and "sent back" not in case["when"]:
                message = read_from_server(case["wire"].encode())
                if isinstance(message, WriteConfig):
                    self.assertTrue(form_of(message, lambda frame: False).acknowledges, case)
                else:
                    self.assertIsInstance(message, Answer, case["wire"])

    def test_what_cannot_be_read_has_no_frames(self) -> None:
        unreadable: list[dict[str, Any]] = [
            {"result": [FRAME]},
            {"result": {}},
            {"modulePort": "RS485"},
            {"modulePort": 100},
            {"packetnum": {}},
        ]
        for change in unreadable:
            message = read_from_server(compact({**ORDER, **change}))
            assert isinstance(message, WriteConfig)
            self.assertEqual((message.result, message.uid), ("", "7"))

    @given(st.dictionaries(st.sampled_from(["result", "message", "retcode", "uid", "datatype", "params"]), SAID))
    def test_what_only_acknowledges_never_carries_a_frame(self, members: dict[str, Any]) -> None:
        """Whatever is said: a frame is taken from ``result`` alone, and only with a return code that is OK."""
        try:
            message = read_from_server(json.dumps({"method": "writeConfig", **members}).encode())
        except (MessageError, FrameError):
            return
        if isinstance(message, WriteConfig) and message.result:
            self.assertEqual(message.result, str(members["result"]).strip())
            form = form_of(message, lambda frame: False)
            self.assertTrue(form.acknowledges or str(message.retcode) in ("UNSET", "000000"))


class TimingTests(SynchronousTestCase):
    def test_results(self) -> None:
        for said, result in ((None, ""), (1795932451434, "1795932451434"), ("UTC", "UTC"), ({}, ""), ([], "")):
            self.assertEqual(
                read_from_server(compact({"method": "timing", "result": said, "retcode": 0})),
                TimingAnswer(result=result, message="ok"),
            )


class EncodedTwiceTests(SynchronousTestCase):
    ANSWER = compact({"method": "login", "result": {"register": 0, "moduletype": '\\ " {机}'}, "retcode": "000004"})

    def test_read(self) -> None:
        message = read_from_server(compact(self.ANSWER.decode()))
        assert isinstance(message, LoginAnswer)
        self.assertEqual((message.result.register, message.retcode), (0, "000004"))
        for text in ("", "x", "[]", '"{}"', "{"):
            self.assertRaises(FrameError, read_from_server, compact(text))

    def test_split_whole_and_byte_by_byte(self) -> None:
        twice = compact(self.ANSWER.decode())
        stream = self.ANSWER + twice + b" \n" + twice + self.ANSWER
        for segments in ([stream], byte_by_byte(stream)):
            splitter, found = Splitter(take_strings=True), []
            for segment in segments:
                splitter.feed(segment)
                while (document := splitter.next_document()) is not None:
                    found.append(document)
            self.assertEqual(found, [self.ANSWER, twice, twice, self.ANSWER])

    def test_devices_encode_once(self) -> None:
        splitter = Splitter()
        splitter.feed(b'"{}"')
        self.assertRaises(FrameError, splitter.next_document)

    def test_a_string_without_an_end(self) -> None:
        splitter = Splitter(max_frame=100, take_strings=True)
        for _ in range(99):
            splitter.feed(b'"' if not splitter.pending else b"a")
            self.assertIsNone(splitter.next_document())
        splitter.feed(b'a"{}')
        self.assertRaises(FrameError, splitter.next_document)
        self.assertEqual(splitter.next_document(), b"{}")

    def test_a_quote_in_a_refused_document(self) -> None:
        splitter = Splitter(max_frame=10, take_strings=True)
        splitter.feed(b'{"a":"bbbbbbbbb')
        self.assertRaises(FrameError, splitter.next_document)
        splitter.feed(b'"}')
        self.assertIsNone(splitter.next_document())
        splitter.feed(b'{}"{}"')
        self.assertEqual((splitter.next_document(), splitter.next_document()), (b"{}", b'"{}"'))
