"""``cmmd.wire.messages``: what is sent is strict, compact, and in the order of the paper's examples."""

import json
import string
from typing import TypeVar

from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET, UnsetType
from twisted.trial.unittest import SynchronousTestCase

from cmmd.wire import messages
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
    encode,
)
from cmmd.wire.reading import read_from_device, read_from_server
from cmmd.wire.retcodes import Retcode
from tests.support import EXAMPLES, compact


class ExampleTests(SynchronousTestCase):
    """Encoding against the vectors."""

    def test_a_server_message_is_the_example_compacted(self) -> None:
        for one in EXAMPLES:
            if one.sender == "server":
                self.assertEqual(encode(read_from_server(one.wire)), compact(one.object), one.name)

    def test_a_device_message_reads_back(self) -> None:
        for one in EXAMPLES:
            if one.sender == "device":
                message = read_from_device(one.wire)
                self.assertEqual(read_from_device(encode(message)), message, one.name)

    def test_prepared_answers(self) -> None:
        printed = {one.name: compact(one.object) for one in EXAMPLES}
        self.assertEqual(messages.ANSWER_LONGCON, printed["LongCon.answer"])
        self.assertEqual(messages.ANSWER_HB, printed["HB.answer"])
        self.assertEqual(messages.ANSWER_REQDATA, printed["reqdata.answer"])
        self.assertEqual(messages.ANSWER_REQDATA, printed["reqdatachange.answer"])
        self.assertEqual(messages.RESET, printed["reset.request"])

    def test_an_error(self) -> None:
        self.assertEqual(
            encode(Answer(method="error", message="nested too deep", retcode=Retcode.NOT_UNDERSTOOD)),
            b'{"method":"error","message":"nested too deep","retcode":"000001"}',
        )

    def test_a_refused_login_keeps_the_shape(self) -> None:
        refused = LoginAnswer(
            result=LoginResult(
                register=0,
                historic="",
                liveData="",
                realTime="1700872746",
                para_command="",
                con_command="",
                online_rate=3000,
                offline_rate=3000,
                moduletype="",
                data_mode=1,
            ),
            retcode=Retcode.WRONG_PASSWORD,
        )
        self.assertEqual(
            encode(refused),
            b'{"method":"login","result":{"register":0,"historic":"","liveData":"","realTime":"1700872746",'
            b'"para_command":"","con_command":"","online_rate":3000,"offline_rate":3000,"moduletype":"","data_mode":1},'
            b'"retcode":"000004"}',
        )


# --- round trips -----------------------------------------------------------------------------------------------------

Value = TypeVar("Value")

hostids = st.text(string.ascii_letters + string.digits + "_-", min_size=1, max_size=24)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
hexes = st.binary(max_size=8).map(lambda frame: frame.hex().upper())
ports = st.integers(0, 99)
bauds = st.integers(0, 9_999_999)
flags = st.none() | st.integers(0, 1)
changes = st.lists(st.dictionaries(st.integers(0, 0xFFFF).map("{:04X}".format), hexes, max_size=3), max_size=3)
change_params = st.builds(
    ChangeParams,
    packetnum=st.none() | st.integers(0, 2**31),
    f01=changes,
    f02=changes,
    f03=changes,
    f04=changes,
)
login_params = st.builds(
    LoginParams,
    hostid=hostids,
    hostname=texts,
    password=texts,
    longitude=st.none() | texts,
    latitude=st.none() | texts,
    altitude=st.none() | texts,
    gpsen=st.none() | st.integers(0, 9),
    moduletype=texts,
    modulePort=st.none() | ports,
    moduleBaud=st.none() | bauds,
)
device_messages: st.SearchStrategy[DeviceMessage] = st.one_of(
    st.builds(Login, params=login_params),
    st.builds(LongCon, hostid=hostids),
    st.builds(Heartbeat, hostid=hostids, params=st.none() | st.just("")),
    st.builds(ReqData, hostid=hostids, params=st.none() | texts),
    st.builds(
        ReqDataChange,
        hostid=hostids,
        params=change_params,
        AccessAlarm=flags,
        FireAlarm=flags,
        AlarmInput=flags,
        InhbitRemote=flags,
    ),
    st.builds(
        WriteConfigAnswer,
        hostid=hostids,
        params=st.none() | texts,
        modulePort=st.none() | ports,
        moduleBaud=st.none() | bauds,
        uid=st.none() | texts,
    ),
    st.builds(Timing, hostid=hostids),
    st.builds(ResetAnswer, hostid=hostids),
)


def or_unset(strategy: st.SearchStrategy[Value]) -> st.SearchStrategy[Value | UnsetType]:
    """Strategy: with the key or without."""
    return st.just(UNSET) | strategy


SHORTEST_FRAME = 8
plain_texts = st.text(st.characters(min_codepoint=33, exclude_categories=["Cs", "Z", "C"]), max_size=20)
"""Strategy: texts without blanks around them, for those of a server do not count."""

server_messages: st.SearchStrategy[ServerMessage] = st.one_of(
    st.builds(
        LoginAnswer,
        result=st.builds(
            LoginResult,
            register=st.integers(0, 1),
            historic=plain_texts,
            liveData=plain_texts,
            realTime=plain_texts,
            para_command=plain_texts,
            con_command=plain_texts,
            online_rate=bauds,
            offline_rate=bauds,
            moduletype=or_unset(plain_texts),
            data_mode=or_unset(st.integers(0, 1)),
            modulePort=or_unset(ports),
            moduleBaud=or_unset(bauds),
            reset_packet_num=or_unset(bauds),
        ),
        message=or_unset(plain_texts),
        retcode=st.sampled_from([one.value for one in Retcode]),
    ),
    st.builds(
        Answer,
        method=st.sampled_from(["LongCon", "HB", "reqdata", "error"]),
        message=plain_texts,
        retcode=st.sampled_from([one.value for one in Retcode]),
    ),
    st.builds(TimingAnswer, result=plain_texts),
    st.builds(
        WriteConfig,
        result=hexes.filter(lambda text: len(text) >= SHORTEST_FRAME),
        modulePort=or_unset(ports),
        moduleBaud=or_unset(bauds),
        datatype=st.integers(0, 2),
        uid=texts,
        packetnum=or_unset(bauds),
        message=or_unset(plain_texts),
        retcode=or_unset(st.just(Retcode.OK.value)),
    ),
    st.just(Reset()),
)


class RoundTripTests(SynchronousTestCase):
    """What one side writes, the other reads: strict JSON, no blank outside of texts, no key without a value."""

    def assert_strict(self, document: bytes) -> None:
        self.assertEqual(compact(json.loads(document)), document)

    @given(device_messages)
    def test_device_to_server(self, message: DeviceMessage) -> None:
        document = encode(message)
        self.assert_strict(document)
        self.assertEqual(read_from_device(document), message)

    @given(server_messages)
    def test_server_to_device(self, message: ServerMessage) -> None:
        document = encode(message)
        self.assert_strict(document)
        self.assertEqual(read_from_server(document), message)
