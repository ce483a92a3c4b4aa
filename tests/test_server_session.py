"""Sessions: what each message gets for an answer, and what becomes of the connection."""

import gc
import json
import weakref
from typing import cast

from msgspec.structs import replace
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from cmmd.fleet.counters.counters import FrameOutcome
from cmmd.fleet.counters.error_counter import count_bugs
from cmmd.fleet.devices.presence import MOST_STANDING
from cmmd.fleet.late_uploads import HISTORIC_GAP_S
from cmmd.server.connection import LINGER_S
from cmmd.server.login import Advertised, UploadTerms
from cmmd.server.receiver import Limits
from cmmd.server.session import Session
from cmmd.store.memory import MemoryStore
from cmmd.store.records import Device
from cmmd.wire.errors import Reason
from cmmd.wire.messages import Login, encode
from tests.support import DOCUMENT_EXAMPLES, EXAMPLES
from tests.transports import SegmentTransport
from tests.uploads import full_upload
from tests.world import HOSTID, START_S, World, login_params

OTHER = "3130373031334717003D002E"
OK = {
    "LongCon": b'{"method":"LongCon","message":"OK","retcode":"000000"}',
    "HB": b'{"method":"HB","message":"OK","retcode":"000000"}',
    "reqdata": b'{"method":"reqdata","message":"OK","retcode":"000000"}',
}


def message(method: str, hostid: str = HOSTID, **more: object) -> bytes:
    return json.dumps({"method": method, "hostid": hostid, **more}).encode()


def login(**changed: object) -> bytes:
    return encode(Login(params=login_params(**changed)))  # type: ignore[arg-type]


class SlowStore(MemoryStore):
    """Confirms a new device when the test says so."""

    def __init__(self) -> None:
        super().__init__()
        self.confirm: Deferred[Device] = Deferred()

    def add_device(self, device: Device) -> Deferred[Device]:
        return self.confirm


NEW = Device(hostid=HOSTID, hostname="", password_hash="x", moduletype="", registered_at=0)


class SessionTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.world = World()

    def attached(self, hostid: str = HOSTID, *, carries_commands: bool = True) -> SegmentTransport:
        if self.world.registry.device(hostid) is None:
            self.world.register(hostid)
        transport = self.world.connect(carries_commands=carries_commands)
        self.assertEqual(self.ask(transport, message("LongCon", hostid)), OK["LongCon"])
        return transport

    def ask(self, transport: SegmentTransport, document: bytes) -> bytes:
        before = len(transport.segments)
        transport.deliver(document)
        transport.turns()
        if len(transport.segments) == before:  # an upload that is kept
            self.world.write_batch()
            transport.turns()
        answers = transport.segments[before:]
        self.assertEqual(len(answers), 1, f"{document!r} was answered {answers}")
        return answers[0]

    def retcode(self, transport: SegmentTransport, document: bytes) -> str:
        code = json.loads(self.ask(transport, document))["retcode"]
        assert isinstance(code, str)
        return code


class LoginTests(SessionTestCase):
    def test_answer_and_close(self) -> None:
        transport = self.world.connect()
        self.assertEqual(
            self.ask(transport, login()),
            b'{"method":"login","result":{"register":1,"historic":"198.51.100.1:21318",'
            b'"liveData":"198.51.100.1:21318","realTime":"1700872746",'
            b'"para_command":"01010000005ABC31;01030000002D85D7;0103002E000AA5C4",'
            b'"con_command":"01010000005ABC31;01030000002D85D7;0103002E000AA5C4",'
            b'"online_rate":3000,"offline_rate":3000,"moduletype":"HGM6120N",'
            b'"data_mode":1,"modulePort":2,"moduleBaud":0},"retcode":"000000"}',
        )
        self.assertTrue(transport.write_closed)
        self.assertFalse(self.world.presence.online(HOSTID))
        self.assertEqual(self.world.counters.logins, {"000000": 1})
        transport.hang_up()
        self.world.write_batch()
        self.assertEqual(self.world.clock.getDelayedCalls(), [])

    def test_plan_by_model(self) -> None:
        for hostid, model, plan in (
            ("A1", "hgm4020n", "010100000055FC35;010300000052C437"),
            ("A2", "something else", "01030000005045F6"),
        ):
            result = json.loads(self.ask(self.world.connect(), login(hostid=hostid, moduletype=model)))["result"]
            self.assertEqual((result["para_command"], result["con_command"]), (plan, plan))

    def test_port_and_baud_that_nobody_said_are_left_out(self) -> None:
        result = json.loads(self.ask(self.world.connect(), login(modulePort=None, moduleBaud=None)))["result"]
        self.assertNotIn("modulePort", result)
        self.assertNotIn("moduleBaud", result)

    def test_port_and_baud_as_stored(self) -> None:
        self.world.register()
        result = json.loads(self.ask(self.world.connect(), login(modulePort=None, moduleBaud=None)))["result"]
        self.assertEqual((result["modulePort"], result["moduleBaud"]), (2, 0))

    def test_terms_and_addresses_as_configured(self) -> None:
        terms = UploadTerms(data_mode=0, online_rate=1000, offline_rate=60000, reset_packet_num=1500)
        advertised = Advertised("cmm.example:1", "cmm.example:2")
        self.world = World(terms=terms, advertised=advertised)
        result = json.loads(self.ask(self.world.connect(), login()))["result"]
        self.assertEqual((result["liveData"], result["historic"]), ("cmm.example:1", "cmm.example:2"))
        self.assertEqual((result["data_mode"], result["online_rate"], result["offline_rate"]), (0, 1000, 60000))
        self.assertEqual(result["reset_packet_num"], 1500)

    def test_ports_of_other_listeners(self) -> None:
        advertised = Advertised()
        advertised.live_ports, advertised.historic_ports = [1001, 1003], [1002]
        self.world = World(advertised=advertised)
        result = json.loads(self.ask(self.world.connect(), login()))["result"]
        self.assertEqual((result["liveData"], result["historic"]), ("198.51.100.1:1001", "198.51.100.1:1002"))

    def test_who_reached_a_port_for_uploads_stays_there(self) -> None:
        """It may be the one with TLS."""
        advertised = Advertised()
        reached = 21318
        advertised.live_ports, advertised.historic_ports = [1001, reached], [reached]
        self.world = World(advertised=advertised)
        result = json.loads(self.ask(self.world.connect(), login()))["result"]
        self.assertEqual((result["liveData"], result["historic"]), (f"198.51.100.1:{reached}",) * 2)

    def test_wrong_password(self) -> None:
        self.world.register()
        before = self.world.registry.device(HOSTID)
        transport = self.world.connect()
        self.assertEqual(
            self.ask(transport, login(password="654321", hostname="Mine now")),
            b'{"method":"login","result":{"register":0,"historic":"","liveData":"","realTime":"1700872746",'
            b'"para_command":"","con_command":"","online_rate":3000,"offline_rate":3000,"moduletype":"","data_mode":1},'
            b'"retcode":"000004"}',
        )
        self.assertTrue(transport.write_closed)
        self.assertEqual(self.world.registry.device(HOSTID), before)
        self.assertEqual(self.world.registry.wrong_passwords, {HOSTID: 1})
        self.assertEqual(self.world.counters.peer_errors, {Reason.WRONG_PASSWORD: 1})

    def test_enrolment_closed(self) -> None:
        self.world = World(policy="known")
        self.assertEqual(self.retcode(self.world.connect(), login()), "000005")

    def test_a_wrong_field_is_named(self) -> None:
        transport = self.world.connect()
        answer = json.loads(self.ask(transport, b'{"method":"login","params":{"hostid":"A"}}'))
        self.assertEqual(answer["result"]["register"], 0)
        self.assertEqual(answer["retcode"], "000001")
        self.assertIn("hostname", answer["message"])
        self.assertTrue(transport.write_closed)

    def test_wrong_field_on_a_long_connection_does_not_close_it(self) -> None:
        transport = self.attached()
        self.assertEqual(self.retcode(transport, b'{"method":"login","params":{"hostid":"A"}}'), "000001")
        self.assertFalse(transport.write_closed)

    def test_login_on_a_long_connection(self) -> None:
        transport = self.attached()
        self.assertEqual(self.retcode(transport, login()), "000000")
        self.assertFalse(transport.write_closed)
        self.assertEqual(self.ask(transport, message("HB")), OK["HB"])

    def test_login_of_another_device_on_a_long_connection(self) -> None:
        transport = self.attached()
        self.assertEqual(self.retcode(transport, login(hostid=OTHER)), "000003")
        self.assertIsNone(self.world.registry.device(OTHER))

    def test_hang_up_while_it_is_decided(self) -> None:
        store = SlowStore()
        self.world = World(store=store)
        transport = self.world.connect()
        transport.deliver(login())
        transport.hang_up()
        store.confirm.callback(NEW)
        self.assertEqual(transport.segments, [])
        self.world.write_batch()
        self.assertEqual(self.world.clock.getDelayedCalls(), [])

    def test_shutdown_while_it_is_decided(self) -> None:
        store = SlowStore()
        self.world = World(store=store)
        transport = self.world.connect()
        transport.deliver(login())
        transport.protocol.close()
        self.assertTrue(transport.write_closed)
        store.confirm.callback(NEW)

    def test_login_answered_after_close(self) -> None:
        store = SlowStore()
        self.world = World(store=store)
        transport = self.world.connect()
        transport.deliver(login())
        transport.protocol.close()
        store.confirm.callback(NEW)
        transport.hang_up()
        self.assertEqual(transport.segments, [])


class SameHeartbeatTests(SessionTestCase):
    """One that is byte for byte the last accepted one is answered without being read."""

    same = message("HB", params="")

    def beating(self) -> tuple[SegmentTransport, Session]:
        transport = self.attached()
        self.assertEqual(self.ask(transport, self.same), OK["HB"])
        session = cast("Session", transport.protocol)
        self.assertEqual(session._last_heartbeat, self.same)
        return transport, session

    def test_is_answered_and_counted(self) -> None:
        transport, _ = self.beating()
        for _ in range(3):
            self.assertEqual(self.ask(transport, self.same), OK["HB"])
        self.assertEqual(self.world.counters.messages["HB"], 4)

    def test_another_is_read(self) -> None:
        transport, session = self.beating()
        self.world.register(OTHER)
        self.assertEqual(self.retcode(transport, message("HB", OTHER, params="")), "000003")
        self.assertEqual(session._last_heartbeat, self.same)
        self.assertEqual(self.ask(transport, self.same + self.same[:10]), OK["HB"])
        self.assertEqual(self.ask(transport, self.same[10:]), OK["HB"])
        self.assertEqual(self.ask(transport, b" " + self.same), OK["HB"])
        self.assertEqual(session._last_heartbeat, b" " + self.same)

    def test_is_forgotten_with_the_device(self) -> None:
        """However the session ends: disabled, taken over by newer connections, closed, lost."""
        for end in ("disable", "take over", "close", "hang up"):
            self.setUp()
            transport, session = self.beating()
            if end == "disable":
                device = self.world.registry.device(HOSTID)
                assert device is not None
                self.world.fleet._changed(replace(device, enabled=False))
            elif end == "take over":
                newer = [self.attached() for _ in range(MOST_STANDING)]
                self.assertEqual(len(newer), MOST_STANDING)
            elif end == "close":
                session.close()
            else:
                transport.hang_up()
            self.assertIsNone(session._last_heartbeat, end)
            answered = len(transport.segments)
            transport.deliver(self.same)
            transport.turns()
            self.assertEqual(len(transport.segments), answered, end)


class MessageTests(SessionTestCase):
    def test_plain_answers(self) -> None:
        transport = self.attached()
        change = {"packetnum": 12, "03": [{"0000": "EF00"}], "01": [{"0000": "08"}]}
        self.assertEqual(self.ask(transport, message("HB", params="")), OK["HB"])
        self.assertEqual(self.ask(transport, message("HB", params=None)), OK["HB"])
        self.assertEqual(self.ask(transport, message("reqdata", params="01030201F4B853;")), OK["reqdata"])
        self.assertEqual(self.ask(transport, message("reqdata", params="")), OK["reqdata"])
        self.assertEqual(
            self.ask(transport, message("reqdatachange", params=change, AccessAlarm=0, InhbitRemote=1)), OK["reqdata"]
        )
        self.assertEqual(self.ask(transport, message("LongCon")), OK["LongCon"])
        self.assertEqual(self.world.counters.uploads, {"full": 2, "change": 1})
        self.assertEqual(self.world.counters.messages, {"LongCon": 2, "HB": 2, "reqdata": 2, "reqdatachange": 1})

    def test_timing_is_in_milliseconds(self) -> None:
        answer = self.ask(self.attached(), message("timing"))
        expected = b'{"message":"ok","retcode":"000000","method":"timing","result":"%d"}' % (START_S * 1000)
        self.assertEqual(answer, expected)

    def test_any_message_of_a_registered_device_attaches(self) -> None:
        self.world.register()
        for first in ("HB", "reqdata", "timing"):
            transport = self.world.connect()
            self.assertEqual(self.retcode(transport, message(first)), "000000")
            self.assertTrue(self.world.presence.online(HOSTID))
            transport.hang_up()
            self.assertFalse(self.world.presence.online(HOSTID))

    def test_unknown_device_on_a_long_connection_is_closed(self) -> None:
        transport = self.world.connect()
        self.assertEqual(
            self.ask(transport, message("LongCon")),
            b'{"method":"LongCon","message":"unknown device","retcode":"000003"}',
        )
        self.assertTrue(transport.write_closed)

    def test_unknown_device_elsewhere_may_still_log_in(self) -> None:
        transport = self.world.connect()
        self.assertEqual(self.retcode(transport, message("HB")), "000003")
        self.assertFalse(transport.write_closed)
        self.assertEqual(self.retcode(transport, login()), "000000")

    def test_foreign_hostid(self) -> None:
        transport = self.attached()
        self.world.register(OTHER)
        for method in ("HB", "LongCon", "reqdata"):
            self.assertEqual(self.retcode(transport, message(method, OTHER)), "000003")
        self.assertEqual(self.world.counters.peer_errors, {Reason.FOREIGN_HOSTID: 3})
        self.assertEqual(self.world.counters.uploads, {})
        self.assertFalse(self.world.presence.online(OTHER))
        self.assertEqual(self.ask(transport, message("HB")), OK["HB"])

    def test_disabled_device(self) -> None:
        self.world.register()
        devices = self.world.registry._devices
        devices[HOSTID] = replace(devices[HOSTID], enabled=False)
        self.assertEqual(self.retcode(self.world.connect(), message("LongCon")), "000005")
        self.assertEqual(self.retcode(self.world.connect(), login()), "000005")

    def test_device_that_was_enrolled_and_never_came(self) -> None:
        self.world.registry._devices[HOSTID] = NEW
        self.assertEqual(self.retcode(self.world.connect(), message("LongCon")), "000003")

    def test_unknown_method(self) -> None:
        transport = self.attached()
        answer = self.ask(transport, message("selfDestruct"))
        self.assertEqual(answer, b'{"method":"error","message":"unknown method","retcode":"000002"}')

    def test_answers_to_nothing_are_counted_and_not_answered(self) -> None:
        transport = self.attached()
        before = len(transport.segments)
        transport.deliver(message("writeConfig", params="00050003FF007DEB,1", uid="123456"))
        transport.deliver(message("reset"))
        transport.turns()
        self.assertEqual(transport.segments[before:], [])
        self.assertEqual(self.world.counters.peer_errors, {Reason.UNEXPECTED_ANSWER: 2})

    def test_a_wrong_field_is_named(self) -> None:
        transport = self.attached()
        answer = json.loads(self.ask(transport, message("reqdatachange", params={"03": 5})))
        self.assertEqual((answer["method"], answer["retcode"]), ("reqdata", "000001"))
        self.assertIn("$.params", answer["message"])

    def test_an_upload_of_the_past(self) -> None:
        """It is answered when it is durable, or told that its time cannot be right."""
        transport = self.attached()
        self.successResultOf(Deferred.fromCoroutine(self.world.registry.set(HOSTID, "owner", history=True)))
        now_ms = int(self.world.clock.seconds() * 1000)
        upload = full_upload().params
        before = len(transport.segments)
        transport.deliver(message("reqdata", params=upload, itime=now_ms - 60_000))
        self.assertEqual(transport.segments[before:], [])
        self.world.write_batch()
        self.world.clock.advance(HISTORIC_GAP_S)
        transport.turns()
        self.assertEqual(transport.segments[before:], [OK["reqdata"]])
        self.assertEqual(
            (self.world.fleet.live[HOSTID].at, dict(self.world.counters.readings)), (None, {"historic": 1})
        )
        for method, itime in (
            ("reqdata", now_ms + 3_600_000),
            ("reqdatachange", str(now_ms + 3_600_000)),
            ("reqdata", 1),
            ("reqdata", -1),
            ("reqdata", "yesterday"),
            ("reqdatachange", 2**70),
        ):
            with self.subTest(method, itime=itime):
                params = upload if method == "reqdata" else {"03": [{"0000": "EF00"}]}
                answer = json.loads(self.ask(transport, message(method, params=params, itime=itime)))
                self.assertEqual((answer["method"], answer["retcode"]), ("reqdata", "000001"))
                self.assertIn("itime", answer["message"])
        self.assertEqual(self.world.counters.peer_errors, {Reason.MALFORMED: 6})
        self.assertEqual(dict(self.world.counters.readings), {"historic": 1})

    def test_frame_error_is_answered(self) -> None:
        answer = self.ask(self.world.connect(), b"NO CARRIER\r\n")
        self.assertEqual(answer, b'{"method":"error","message":"not a JSON object","retcode":"000001"}')

    def test_a_bug_of_ours(self) -> None:
        self.addCleanup(count_bugs(self.world.counters))
        transport = self.attached()
        self.world.counters.uploads = None  # type: ignore[assignment]
        self.assertEqual(self.retcode(transport, message("reqdata")), "000006")
        self.assertTrue(transport.write_closed)
        self.assertEqual(self.world.counters.bugs, 1)
        self.assertEqual([failure.type for failure in self.flushLoggedErrors()], [TypeError])
        self.assertFalse(self.world.presence.online(HOSTID))


class PlanTests(SessionTestCase):
    def test_uploads_answer_the_plan_that_the_session_began_with(self) -> None:
        """A login on another connection changes the plan; a device that has not heard of it goes on as it was told."""
        transport = self.attached()
        upload = encode(full_upload())
        self.ask(transport, upload)
        self.ask(self.world.connect(), login(moduletype="something else"))
        self.ask(transport, upload)
        known = self.world.fleet.live[HOSTID].known
        self.assertEqual(known.register(6), 5000)
        self.assertIsNone(self.world.fleet.live[HOSTID].profile.engine_state(known))
        again = self.attached()
        before = self.world.counters.frames[FrameOutcome.FOREIGN]
        self.ask(again, upload)
        self.assertEqual(self.world.counters.frames["foreign"], before + 3)  # type: ignore[index]


class VectorTests(SessionTestCase):
    """The paper's examples, against a server that knows their devices."""

    def exchange(self, segments: list[bytes]) -> list[bytes]:
        transport = self.attached("AAAAAAA")
        before = len(transport.segments)
        for segment in segments:
            transport.deliver(segment)
        transport.turns()
        if len(transport.segments) == before:
            self.world.write_batch()
            transport.turns()
        return transport.segments[before:]

    def test_every_example_whole_and_byte_by_byte(self) -> None:
        answers = {one.name.removesuffix(".answer"): one.object for one in DOCUMENT_EXAMPLES if one.sender == "server"}
        seen = 0
        for example in EXAMPLES:
            if example.sender != "device" or not example.name.endswith(".request") or "login" in example.name:
                continue
            wire = example.wire.replace(b"AAAAAAAAAA", b"AAAAAAA")
            for segments in ([wire], [wire[i : i + 1] for i in range(len(wire))]):
                (answer,) = self.exchange(segments)
                expected = dict(answers[example.name.removesuffix(".request")])
                if "timing" in example.name:
                    expected["result"] = str(int(self.world.clock.seconds() * 1000))
                self.assertEqual(answer, json.dumps(expected, separators=(",", ":")).encode(), example.name)
                seen += 1
        self.assertEqual(seen, 10)

    def test_the_papers_login(self) -> None:
        (wire,) = (one.wire for one in DOCUMENT_EXAMPLES if one.name == "login.request")
        self.assertEqual(self.retcode(self.world.connect(), wire), "000000")
        device = self.world.registry.device("AAAAA")
        assert device is not None
        self.assertEqual((device.longitude, device.latitude, device.gpsen), ("54", "0", 0))
        self.assertIsNone(device.module_port)


class LifeTests(SessionTestCase):
    def test_connection_that_says_nothing(self) -> None:
        transport = self.world.connect()
        self.world.clock.advance(29.9)
        self.assertFalse(transport.write_closed)
        self.world.clock.advance(0.2)
        self.assertTrue(transport.write_closed)
        self.assertEqual(self.world.counters.peer_errors, {Reason.LOGIN_TIMEOUT: 1})
        self.world.clock.advance(LINGER_S)
        self.assertTrue(transport.lost)
        self.assertEqual(self.world.clock.getDelayedCalls(), [])

    def test_slow_loris(self) -> None:
        transport = self.world.connect()
        for byte in message("LongCon")[:40]:
            transport.deliver(bytes([byte]))
            self.world.clock.advance(1)
        self.assertTrue(transport.write_closed)

    def test_what_is_not_understood_does_not_extend_the_wait(self) -> None:
        transport = self.world.connect()
        for _ in range(4):
            transport.deliver(b"{}")
            transport.turns()
            self.world.clock.advance(10)
        self.assertTrue(transport.write_closed)

    def test_session_ends_by_idle_timeout(self) -> None:
        self.world = World(limits=Limits(idle_timeout=60.0))
        transport = self.attached()
        self.world.clock.advance(61)
        self.assertTrue(transport.write_closed)
        self.assertFalse(self.world.presence.online(HOSTID))
        self.assertEqual(self.world.counters.peer_errors, {Reason.IDLE_TIMEOUT: 1})

    def test_old_connection_that_ends_leaves_the_new_one(self) -> None:
        old = self.attached()
        new = self.attached()
        old.hang_up()
        self.assertTrue(self.world.presence.online(HOSTID))
        self.assertIs(self.world.presence.carrier(HOSTID), new.protocol)
        new.hang_up()
        self.assertFalse(self.world.presence.online(HOSTID))

    def test_fifth_connection_ends_the_oldest(self) -> None:
        transports = [self.attached() for _ in range(5)]
        self.assertEqual([one.write_closed for one in transports], [True, False, False, False, False])
        self.assertEqual(self.world.presence.session_count, 4)
        transports[0].hang_up()
        self.assertEqual(self.world.presence.session_count, 4)

    def test_history_connection_carries_no_commands(self) -> None:
        self.attached(carries_commands=False)
        self.assertFalse(self.world.presence.online(HOSTID))
        self.assertEqual(self.world.presence.session_count, 1)
        self.assertIsNone(self.world.presence.carrier(HOSTID))

    def test_three_frame_errors_end_a_session(self) -> None:
        transport = self.attached()
        transport.deliver(b"x{}y{}z{}")
        transport.turns()
        self.assertTrue(transport.write_closed)
        self.assertFalse(self.world.presence.online(HOSTID))

    def test_close_twice(self) -> None:
        transport = self.attached()
        transport.protocol.close()
        transport.protocol.close()
        transport.hang_up()
        transport.protocol.close()
        self.assertTrue(transport.write_closed)
        self.world.write_batch()
        self.assertEqual(self.world.clock.getDelayedCalls(), [])

    def test_nothing_is_left_to_the_garbage_collector(self) -> None:
        gc.disable()
        self.addCleanup(gc.enable)
        short, long = self.world.connect(), self.attached()
        self.ask(short, login())
        sessions = [weakref.ref(transport.protocol) for transport in (short, long)]
        for transport in (short, long):
            transport.hang_up()
            del transport.protocol
        del short, long, transport
        self.assertEqual([session() for session in sessions], [None, None])

    def test_bytes_are_counted(self) -> None:
        transport = self.world.connect()
        transport.deliver(b"   ")
        self.assertEqual(self.world.counters.bytes_received, 3)
