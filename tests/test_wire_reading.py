"""``cmmd.wire.reading``: every spelling of a message comes to the same struct, every fault to a named field."""

import json
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from cmmd.wire.errors import FrameError, MessageError, Reason
from cmmd.wire.messages import (
    Answer,
    ChangeParams,
    DeviceMessage,
    Heartbeat,
    Login,
    LoginAnswer,
    LoginParams,
    LoginResult,
    LongCon,
    ReqData,
    ReqDataChange,
    Reset,
    ResetAnswer,
    ServerMessage,
    Timing,
    TimingAnswer,
    WriteConfig,
    WriteConfigAnswer,
)
from cmmd.wire.reading import read_from_device, read_from_server, read_segment
from cmmd.wire.retcodes import Retcode
from cmmd.wire.splitter import Splitter
from tests.support import DOCUMENT_EXAMPLES, EXAMPLES, FIELD_EXAMPLES, compact

CHANGES = [{"0000": "0805"}]
POLLS = "01010000005ABC31;01030000002D85D7;0103002E000AA5C4"

PAPER: dict[str, DeviceMessage | ServerMessage] = {
    "login.request": Login(
        params=LoginParams(
            hostid="AAAAA",
            hostname="Smatgen",
            password="980318",
            longitude="54",
            latitude="0",
            gpsen=0,
            moduletype="HGM6120",
        )
    ),
    "login.answer": LoginAnswer(
        result=LoginResult(
            register=1,
            historic="192.168.0.194:81",
            liveData="192.168.0.194:81",
            realTime="UTC",
            para_command="01030000005045F6; 01030000005045F6",
            con_command="01030000005045F6; 01030000005045F6",
            online_rate=3000,
            offline_rate=3000,
            modulePort=2,
            moduleBaud=0,
        )
    ),
    "LongCon.request": LongCon(hostid="AAAAAAAAAA"),
    "LongCon.answer": Answer(method="LongCon"),
    "HB.request": Heartbeat(hostid="AAAAAAAAAA", params=""),
    "HB.answer": Answer(method="HB"),
    "reqdata.request": ReqData(params="", hostid="AAAAAAA"),
    "reqdata.answer": Answer(method="reqdata"),
    "reqdatachange.request": ReqDataChange(params=ChangeParams(f03=CHANGES, f01=CHANGES), hostid="AAAAAAA"),
    "reqdatachange.answer": Answer(method="reqdata"),
    "writeConfig.modbus.request": WriteConfig(result="000000000000", datatype=1, uid="1"),
    "writeConfig.port.request": WriteConfig(modulePort=1, moduleBaud=0, datatype=1, uid="1"),
    "writeConfig.modbus.answer": WriteConfigAnswer(params="01010101,1", hostid="AAAAA", uid="1"),
    "writeConfig.port.answer": WriteConfigAnswer(modulePort=1, moduleBaud=0, hostid="AAAAAAA", uid="1"),
    "timing.request": Timing(hostid="AAAAAAA"),
    "timing.answer": TimingAnswer(result="1497811080077"),
    "reset.request": Reset(),
    "reset.answer": ResetAnswer(hostid="AAAAAAA"),
}

FIELD: dict[str, DeviceMessage | ServerMessage] = {
    "vendor cloud login answer, HGM6120N-4G on RS485 at 9600": LoginAnswer(
        result=LoginResult(
            register=1,
            historic="8.136.108.133:21318",
            liveData="8.136.108.133:21318",
            realTime="1700872746",
            para_command=POLLS,
            con_command=POLLS,
            online_rate=3000,
            offline_rate=3000,
            moduletype="HGM6120N-4G",
            modulePort=2,
            moduleBaud=0,
        )
    ),
    "vendor cloud command, controller to auto mode": WriteConfig(result="00050003FF007DEB", datatype=1, uid="action"),
    "device's answer to it": WriteConfigAnswer(
        params="00050003FF007DEB,1", hostid="3130373031334717003D002E", uid="action"
    ),
    "change upload of an HGM6120N-4G: register values little-endian, coils packed, running packet number": (
        ReqDataChange(
            hostid="3130373031334717003D002E",
            params=ChangeParams(
                packetnum=12, f03=[{"0000": "EF00"}, {"0006": "8813"}, {"0018": "1601"}], f01=[{"0028": "02"}]
            ),
        )
    ),
}

LOGIN: dict[str, Any] = {
    "method": "login",
    "params": {"hostid": "A1", "hostname": "G", "password": "p", "moduletype": "HGM6120N"},
}
LOGIN_READ = Login(params=LoginParams(hostid="A1", hostname="G", password="p", moduletype="HGM6120N"))


def login_with(**params: object) -> bytes:
    """A login whose params have these keys on top; None takes a key away."""
    merged = LOGIN["params"] | params
    return compact(LOGIN | {"params": {key: value for key, value in merged.items() if value is not None}})


def read_login(document: bytes) -> LoginParams:
    message = read_from_device(document)
    assert isinstance(message, Login)
    return message.params


class VectorTests(SynchronousTestCase):
    """Every example reads as the message that it is."""

    def test_the_paper(self) -> None:
        self.assertEqual({one.name for one in DOCUMENT_EXAMPLES}, set(PAPER))
        for one in DOCUMENT_EXAMPLES:
            read = read_from_device if one.sender == "device" else read_from_server
            self.assertEqual(read(one.wire), PAPER[one.name], one.name)

    def test_the_field(self) -> None:
        self.assertEqual({one.name for one in FIELD_EXAMPLES}, set(FIELD))
        for one in FIELD_EXAMPLES:
            read = read_from_device if one.sender == "device" else read_from_server
            self.assertEqual(read(one.wire), FIELD[one.name], one.name)


class ToleranceTests(SynchronousTestCase):
    """What a device may write differently (protocol sections 2 and 4)."""

    def assert_reads_as(self, document: bytes, expected: DeviceMessage) -> None:
        self.assertEqual(read_from_device(document), expected, document)

    def test_keys_in_any_letter_case(self) -> None:
        for change in (str.upper, str.lower, str.title):
            params = {change(key): value for key, value in LOGIN["params"].items()}
            self.assert_reads_as(compact({change("method"): "login", change("params"): params}), LOGIN_READ)

    def test_misspelt_keys(self) -> None:
        for key in ("hosted", "Hosted", "Hostid"):
            self.assert_reads_as(login_with(**{"hostid": None, key: "A1"}), LOGIN_READ)
        for key in ("gsen", "Gpsen", "Gsen", "gpsen"):
            self.assertEqual(read_login(login_with(**{key: 1})).gpsen, 1)

    def test_text_as_numbers_and_numbers_in_text(self) -> None:
        for document in (
            login_with(password=980318, longitude=113.5, gpsen="1", modulePort="4", moduleBaud="2"),
            login_with(password="980318", longitude="113.5", gpsen=1.0, modulePort=4.0, moduleBaud=2),
        ):
            params = read_login(document)
            self.assertEqual((params.password, params.longitude), ("980318", "113.5"))
            self.assertEqual((params.gpsen, params.modulePort, params.moduleBaud), (1, 4, 2))

    def test_an_empty_text_is_no_number(self) -> None:
        for blank in ("", "  "):
            self.assert_reads_as(login_with(gpsen=blank, modulePort=blank), LOGIN_READ)

    def test_true_is_neither_number_nor_text(self) -> None:
        self.assertRaises(MessageError, read_from_device, login_with(gpsen=True))
        self.assertRaises(MessageError, read_from_device, login_with(password=True))

    def test_params_as_a_text_that_holds_an_object(self) -> None:
        text = json.dumps(LOGIN["params"])
        for spelt in (text, text.replace("}", ",}"), text.replace("hostid", "HOSTED"), f" {text}\n"):
            self.assert_reads_as(compact(LOGIN | {"params": spelt}), LOGIN_READ)
        change = {"method": "reqdatachange", "params": '{"03":[{"0000":"EF00"}]}', "hostid": "A1"}
        self.assert_reads_as(compact(change), ReqDataChange(params=ChangeParams(f03=[{"0000": "EF00"}]), hostid="A1"))

    def test_hostid_of_the_envelope_counts_where_params_have_none(self) -> None:
        document = json.loads(login_with(hostid=None))
        self.assert_reads_as(compact(document | {"hostid": "A1"}), LOGIN_READ)
        self.assert_reads_as(compact(document | {"HostID": "A1"}), LOGIN_READ)
        self.assert_reads_as(compact(LOGIN | {"hostid": "B2"}), LOGIN_READ)
        numeric = read_login(compact(document | {"hostid": 123}))
        self.assertEqual(numeric.hostid, "123")

    def test_unknown_keys_are_left_out(self) -> None:
        self.assert_reads_as(compact(json.loads(login_with(firmware="2.1")) | {"signal": {"rssi": -70}}), LOGIN_READ)
        self.assert_reads_as(b'{"method":"timing","hostid":"A","uid":1,"":null}', Timing(hostid="A"))

    def test_of_keys_that_stand_twice_the_last_one_counts(self) -> None:
        for document in (
            b'{"method":"timing","hostid":"A","hostid":"B"}',
            b'{"method":"timing","hostid":"A","HOSTID":"B"}',
            b'{"method":"HB","HOSTID":"A","hostid":"B","method":"timing"}',
        ):
            self.assert_reads_as(document, Timing(hostid="B"))

    def test_key_order_does_not_matter(self) -> None:
        self.assert_reads_as(b'{"hostid":"A","method":"timing"}', Timing(hostid="A"))

    def test_names_in_chinese(self) -> None:
        for encoding in ("utf-8", "gb18030"):
            document = login_with(hostname="一号发电机组乗").decode().encode(encoding)
            self.assertEqual(read_login(document).hostname, "一号发电机组乗")

    def test_the_same_way_for_what_a_server_sends(self) -> None:
        spelt = b'{"Method":"writeConfig","Result":"00050003FF007DEB","DataType":"1","UID":123456,"extra":[],}'
        self.assertEqual(read_from_server(spelt), WriteConfig(result="00050003FF007DEB", datatype=1, uid="123456"))
        error = b'{"method":"error","message":"nested too deep","retcode":"000001"}'
        self.assertEqual(
            read_from_server(error), Answer(method="error", message="nested too deep", retcode=Retcode.NOT_UNDERSTOOD)
        )

    def test_change_upload_with_inputs(self) -> None:
        document = (
            b'{"method":"reqdatachange","params":{"packetnum":"7","05":[{"0000":"FF00"}],"03":[{"0000":"EF00","0006":'
            b'"8813"}]},"hostid":"A","accessalarm":0,"FireAlarm":"1","AlarmInput":0,"InhbitRemote":1}'
        )
        self.assert_reads_as(
            document,
            ReqDataChange(
                params=ChangeParams(packetnum=7, f03=[{"0000": "EF00", "0006": "8813"}]),
                hostid="A",
                AccessAlarm=0,
                FireAlarm=1,
                AlarmInput=0,
                InhbitRemote=1,
            ),
        )

    def test_params_may_be_null(self) -> None:
        self.assert_reads_as(b'{"method":"HB","hostid":"A","params":null}', Heartbeat(hostid="A"))
        self.assert_reads_as(b'{"method":"HB","hostid":"A"}', Heartbeat(hostid="A"))
        self.assert_reads_as(b'{"method":"reqdata","hostid":"A","params":null}', ReqData(hostid="A"))


class FieldErrorTests(SynchronousTestCase):
    """A violated length, range or type names the field and carries the method of the answer."""

    def assert_names(self, document: bytes, path: str, method: str) -> None:
        error = self.assertRaises(MessageError, read_from_device, document)
        self.assertIn(path, str(error), document)
        self.assertEqual(error.method, method)
        self.assertEqual((error.reason, error.retcode), (Reason.MALFORMED, Retcode.NOT_UNDERSTOOD))

    def test_lengths(self) -> None:
        longest = {
            "hostid": 24,
            "hostname": 20,
            "password": 20,
            "longitude": 20,
            "latitude": 20,
            "altitude": 20,
            "moduletype": 30,
        }
        for key, length in longest.items():
            self.assertEqual(getattr(read_login(login_with(**{key: "x" * length})), key), "x" * length)
            self.assert_names(login_with(**{key: "x" * (length + 1)}), f"$.params.{key}", "login")

    def test_lengths_count_characters(self) -> None:
        self.assertEqual(read_login(login_with(hostname="机" * 20)).hostname, "机" * 20)
        self.assert_names(login_with(hostname="机" * 21), "$.params.hostname", "login")

    def test_ranges(self) -> None:
        for key, largest in (("gpsen", 9), ("modulePort", 99), ("moduleBaud", 9_999_999)):
            self.assertEqual(getattr(read_login(login_with(**{key: largest})), key), largest)
            wrong_values: list[object] = [largest + 1, -1, 0.5, "x", [], "9" * 5000]
            for wrong in wrong_values:
                self.assert_names(login_with(**{key: wrong}), f"$.params.{key}", "login")

    def test_required_fields(self) -> None:
        for key in LOGIN["params"]:
            self.assert_names(login_with(**{key: None}), f"`{key}`", "login")
        self.assert_names(b'{"method":"login"}', "`params`", "login")
        for method, answered_as in (
            ("LongCon", "LongCon"),
            ("HB", "HB"),
            ("reqdata", "reqdata"),
            ("reqdatachange", "reqdata"),
            ("writeConfig", "writeConfig"),
            ("timing", "timing"),
            ("reset", "reset"),
        ):
            self.assert_names(compact({"method": method, "params": None}), "", answered_as)
            self.assert_names(compact({"method": method, "hostid": "", "params": {}}), "", answered_as)
            self.assert_names(compact({"method": method, "hostid": "x" * 25, "params": {}}), "", answered_as)

    def test_types(self) -> None:
        self.assert_names(compact(LOGIN | {"params": 1}), "$.params", "login")
        self.assert_names(compact(LOGIN | {"params": "not an object"}), "$.params", "login")
        self.assert_names(compact(LOGIN | {"params": "[]"}), "$.params", "login")
        self.assert_names(login_with(hostname=["G"]), "$.params.hostname", "login")
        self.assert_names(b'{"method":"timing","hostid":{}}', "$.hostid", "timing")
        change = b'{"method":"reqdatachange","hostid":"A","params":{"03":%s}}'
        self.assert_names(change % b'{"0000":"EF00"}', "$.params.03", "reqdata")
        self.assert_names(change % b'[{"0000":239}]', "$.params.03[0]", "reqdata")
        self.assert_names(b'{"method":"reqdatachange","hostid":"A","params":""}', "$.params", "reqdata")

    def test_a_new_hostid_is_printable_ascii_without_blanks(self) -> None:
        for hostid in ("", "a b", "A\n", "机", "\x7f", "A\0"):
            self.assert_names(login_with(hostid=hostid), "$.params.hostid", "login")

    def test_input_flags(self) -> None:
        for key in ("AccessAlarm", "FireAlarm", "AlarmInput", "InhbitRemote"):
            document = compact({"method": "reqdatachange", "hostid": "A", "params": {}, key: 2})
            self.assert_names(document, f"$.{key}", "reqdata")

    def test_method(self) -> None:
        for document in (b"{}", b'{"method":null}', b'{"method":["HB"]}', b'{"hostid":"A"}'):
            self.assert_names(document, "method", "error")

    def test_unknown_method(self) -> None:
        for read in (read_from_device, read_from_server):
            for method in (b"selfdestruct", b"", b"LOGIN"):
                error = self.assertRaises(MessageError, read, b'{"method":"' + method + b'","hostid":"A"}')
                self.assertEqual(str(error), "unknown method")
                self.assertEqual(error.said, method.decode())
                self.assertEqual(error.method, "error")
                self.assertEqual((error.reason, error.retcode), (Reason.UNKNOWN_METHOD, Retcode.UNKNOWN_METHOD))

    def test_what_the_other_side_sends_is_no_method_of_this_one(self) -> None:
        self.assertRaises(MessageError, read_from_server, b'{"method":"reqdatachange","hostid":"A","params":{}}')
        self.assertRaises(MessageError, read_from_device, b'{"method":"error","message":"x","retcode":"000001"}')


class FrameErrorTests(SynchronousTestCase):
    """What is not even near JSON, or JSON that is not meant."""

    def test_not_json(self) -> None:
        for document in (b"", b"{", b'{"method":HB}', b"\xff\xfe", b'{"method":"HB"}}'):
            for read in (read_from_device, read_from_server):
                self.assertEqual(self.assertRaises(FrameError, read, document).reason, Reason.SYNTAX)

    def test_not_an_object(self) -> None:
        for document in (b"1", b"[]", b"null", b'"x"', b'["method","HB"]'):
            for read in (read_from_device, read_from_server):
                self.assertEqual(self.assertRaises(FrameError, read, document).reason, Reason.SYNTAX)

    def test_numbers_without_a_value(self) -> None:
        for number in (b"NaN", b"Infinity", b"1e999", b"-1e999", b"9" * 5000):
            document = b'{"method":"HB","hostid":"A","params":' + number + b"}"
            for read in (read_from_device, read_from_server):
                self.assertEqual(self.assertRaises(FrameError, read, document).reason, Reason.SYNTAX)

    def test_lone_surrogates_and_invalid_utf8_are_replaced(self) -> None:
        for spelt in (b"\\ud800", b"\xff"):
            document = b'{"method":"HB","hostid":"' + spelt + b'"}'
            self.assertEqual(read_from_device(document), Heartbeat(hostid="\ufffd"))

    def test_very_deep(self) -> None:
        levels = 50_000
        for document in (
            b'{"a":' + b"[" * levels,
            b'{"a":' + b"[" * levels + b"]" * levels + b"}",
            b'{"method":"HB","hostid":"A","params":' + b"[" * levels + b"]" * levels + b"}",
        ):
            for read in (read_from_device, read_from_server):
                self.assertEqual(self.assertRaises(FrameError, read, document).reason, Reason.DEPTH)

    def test_as_deep_as_is_allowed(self) -> None:
        for extra in (b"", b","):  # strict, and near JSON
            document = b'{"method":"HB","hostid":"A","params":' + b"[" * 19 + b"]" * 19 + extra + b"}"
            self.assertIsInstance(read_from_device(document, 20), Heartbeat)
        self.assertEqual(self.assertRaises(FrameError, read_from_device, document, 19).reason, Reason.DEPTH)

    def test_very_deep_in_a_text(self) -> None:
        document = compact(LOGIN | {"params": '{"a":' * 50_000})
        self.assertIn("$.params", str(self.assertRaises(MessageError, read_from_device, document)))


# --- arbitrary input -------------------------------------------------------------------------------------------------

keys = st.sampled_from(
    sorted(
        {key for one in EXAMPLES for key in one.object}
        | set(LoginParams.__struct_fields__ + LoginResult.__struct_fields__)
        | {"hosted", "HOSTID", "gsen", "packetnum", "01", "03", "0000", "AccessAlarm", "message"}
    )
)
methods = st.sampled_from(sorted({one.object["method"] for one in EXAMPLES} | {"error"}))
scalars = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=30), st.sampled_from(["1", "{}", '{"a":'])
)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=6), max_leaves=10
)
messages = st.builds(
    lambda method, members: json.dumps(members | {"method": method}).encode(),
    methods,
    st.dictionaries(keys, values, max_size=6),
)


class ArbitraryInputTests(SynchronousTestCase):
    """Nothing but FrameError and MessageError."""

    @given(messages | st.binary(max_size=60))
    @example(b'{"method":"login","params":[],"hostid":"A"}')
    @example(b'{"method":"login","params":null,"hostid":"A"}')
    @example(b'{"method":"login","result":""}')
    def test_reading(self, document: bytes) -> None:
        for read in (read_from_device, read_from_server):
            try:
                read(document)
            except MessageError as error:
                self.assertTrue(str(error))
            except FrameError as error:
                self.assertIn(error.reason, (Reason.SYNTAX, Reason.DEPTH))


class SegmentTests(SynchronousTestCase):
    """A segment that is read at once is the one message that splitting and reading would have found in it."""

    def check(self, segment: bytes) -> None:
        message = read_segment(segment)
        if message is None:
            return
        splitter = Splitter(max_depth=4)
        splitter.feed(segment)
        document = splitter.next_document()
        assert document is not None
        self.assertEqual(message, read_from_device(document, max_depth=4))
        self.assertIsNone(splitter.next_document())
        self.assertTrue(splitter.between)

    @given(
        messages | st.binary(max_size=60), st.sampled_from([b"", b" ", b"\n", b"\0", b"{", b"}", b'{"method":"HB"}'])
    )
    def test_any(self, document: bytes, more: bytes) -> None:
        self.check(document)
        self.check(document + more)
        self.check(more + document)

    def test_examples_are_read_at_once(self) -> None:
        for one in DOCUMENT_EXAMPLES:
            if one.sender == "device":
                self.check(one.wire)
        self.assertIsNotNone(read_segment(b'{"method":"HB","hostid":"A","params":""}'))

    def test_what_may_be_too_deep_is_not(self) -> None:
        self.assertIsNone(read_segment(b'{"method":"HB","hostid":"A","params":' + b"[" * 40 + b"]" * 40 + b"}"))
        self.assertIsNone(read_segment(b'{"method":"HB","hostid":"A"}{"method":"HB","hostid":"A"}'))
        self.assertIsNone(read_segment(b'{"method":"HB","hosted":"A"}'))
