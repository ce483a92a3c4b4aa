"""What programs ask and are answered, with the real fleet behind it; connections that misbehave."""

import json
import os
from typing import Any
from unittest.mock import Mock

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred, fail
from twisted.internet.error import ConnectionDone
from twisted.logger import capturedLogs, formatEvent
from twisted.protocols import amp
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from cmmd.control import commands, connection, errors
from cmmd.control.boxes import PAGE_BYTES
from cmmd.control.connection import MOST_BOX_BYTES
from cmmd.control.watching import GATHER_S
from cmmd.fleet.devices.registry import LoginRefused
from cmmd.fleet.events import Kind
from cmmd.fleet.service.records import Changes
from cmmd.store.interface import StoreUnavailable
from cmmd.store.memory import MemoryStore
from cmmd.store.records import Query
from tests.control_world import ControlWorld, Plain, now
from tests.uploads import HGM6120N_PLAN, change_upload, full_upload
from tests.world import HOSTID, login_params

OTHER = "AAAAAAAAAAAAAAAAAAAAAAAA"


class _TestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.control = ControlWorld()
        self.plain = Plain(self.control)
        self.ask = self.plain.ask

    def all_of(self, command: type[amp.Command], name: str, **arguments: Any) -> list[Any]:
        """Every page; each in a value that AMP bears."""
        found: list[Any] = []
        after: str | None = None
        while True:
            page = self.ask(command, after=after, **arguments)
            found += page[name]
            after = page["next"]
            if after is None:
                return found
            self.assertNotEqual(page[name], [])


class ReadingTests(_TestCase):
    def test_status(self) -> None:
        self.control.online()
        self.control.clock.advance(5)
        status = self.ask(commands.Status)["status"]
        self.assertEqual((status.devices, status.online, status.sessions), (1, 1, 1))
        self.assertEqual((status.alarms["shutdown"], status.store_up), (0, True))
        self.assertEqual(status.now - status.started_at, 5000)

    def test_devices_in_pages(self) -> None:
        self.control = ControlWorld(max_devices=5000)
        self.plain = Plain(self.control)
        hostids = [f"{number:024}" for number in range(3000)]
        for hostid in hostids:
            now(self.control.fleet.registry.enrol(hostid, hostname="機" * 20))
        seen: list[str] = []
        box, pages = {b"_command": b"ListDevices", b"_ask": b"1"}, 0
        while True:
            self.plain.raw(amp.Box(box).serialize())
            (answer,) = amp.parseString(self.plain.from_server.value())
            self.plain.from_server.clear()
            self.assertEqual({*answer} - {b"next"}, {b"_answer", b"devices"})
            seen += [one["hostid"] for one in json.loads(answer[b"devices"])]
            pages += 1
            if b"next" not in answer:
                break
            box[b"after"] = answer[b"next"]
        self.assertEqual(seen, hostids)
        self.assertTrue(10 < pages < 40, pages)

    def test_devices_by_whether_they_are_online(self) -> None:
        self.control.online()
        self.control.world.register(OTHER)
        for online, expected in ((True, [HOSTID]), (False, [OTHER]), (None, [HOSTID, OTHER])):
            found = self.all_of(commands.ListDevices, "devices", online=online, limit=1)
            self.assertEqual([one.hostid for one in found], expected)

    def test_device(self) -> None:
        self.control.online()
        device = self.ask(commands.GetDevice, hostid=HOSTID)["device"]
        self.assertEqual((device.row.hostname, device.row.profile, device.row.online), ("Genset 1", "hgm6120n", True))
        self.assertEqual((device.row.address, device.sessions), ("192.0.2.7", ["192.0.2.7"]))
        self.assertEqual((device.has_password, device.wrong_passwords), (True, 0))
        auto = next(one for one in device.commands if one.name == "auto")
        self.assertTrue(auto.confirmable)
        self.assertRaises(errors.UnknownDevice, self.ask, commands.GetDevice, hostid="nobody")

    def test_wrong_passwords_are_counted_for_each_device(self) -> None:
        registry = self.control.world.registry
        for hostid in (HOSTID, OTHER):
            self.control.world.register(hostid)
        guess = Deferred.fromCoroutine(registry.login(login_params(password="guess"), "192.0.2.66"))
        self.failureResultOf(guess, LoginRefused)
        counted = [self.ask(commands.GetDevice, hostid=one)["device"].wrong_passwords for one in (HOSTID, OTHER)]
        self.assertEqual(counted, [1, 0])

    def test_nothing_answered_has_a_password_in_it(self) -> None:
        self.control.online()
        device = self.control.fleet.registry.device(HOSTID)
        assert device is not None and device.password_hash is not None
        for command, arguments in (
            (commands.ListDevices, {}),
            (commands.GetDevice, {"hostid": HOSTID}),
            (commands.GetLive, {"hostid": HOSTID}),
        ):
            self.plain.reads = False
            self.plain.begin(command, **arguments)
            answered = self.plain.from_server.value()
            self.assertIn(HOSTID.encode(), answered)
            self.assertNotIn(device.password_hash.encode(), answered)
            self.plain.reads = True
            self.plain.pump()

    def test_live(self) -> None:
        self.control.online()
        self.control.fleet.uploads.full(full_upload(), HGM6120N_PLAN, historic=False)
        live = self.ask(commands.GetLive, hostid=HOSTID)["live"]
        self.assertEqual((live.online, live.view.mode, live.raw), (True, "auto", None))
        frequency = next(one for one in live.view.points if one.name == "mains_frequency")
        self.assertEqual((frequency.value, frequency.unit), (50.0, "Hz"))
        self.assertRaises(errors.UnknownDevice, self.ask, commands.GetLive, hostid="nobody")

    def test_live_raw(self) -> None:
        self.control.online()
        self.control.fleet.uploads.full(full_upload({6: 5000}, {6}), HGM6120N_PLAN, historic=False)
        raw = {(run.function, run.address): run.values for run in self.live_raw()}
        self.assertEqual(set(raw), {(1, 0), (3, 0), (3, 46)})
        self.assertEqual((raw[1, 0][:8], raw[3, 0][:8]), ([0] * 6 + [1, 0], [0] * 6 + [5000, 0]))

    def test_live_raw_says_what_is_not_certain(self) -> None:
        self.control.world.register(moduletype="HGM4010N")
        self.control.fleet.uploads.change(change_upload({6: 5000}), historic=False)
        self.control.fleet.uploads.change(change_upload({7: 0}), historic=False)
        runs = [run for run in self.live_raw() if run.function == 3]
        self.assertEqual([(run.address, run.values) for run in runs], [(7, [0])])

    def live_raw(self) -> list[Any]:
        raw: list[Any] = self.ask(commands.GetLive, hostid=HOSTID, raw=True)["live"].raw
        return raw

    def test_history(self) -> None:
        self.control.online()
        for _ in range(300):
            self.control.fleet.uploads.full(full_upload(), HGM6120N_PLAN, historic=False)
            self.control.clock.advance(61)
        found = self.all_of(commands.GetHistory, "readings", hostid=HOSTID)
        self.assertEqual(len(found), 300)
        self.assertEqual([one.at for one in found], sorted({one.at for one in found}))
        self.assertEqual((found[0].reason, found[0].points["mains_frequency"]), ("first", 50.0))
        some = self.all_of(
            commands.GetHistory,
            "readings",
            hostid=HOSTID,
            points="mains_frequency, mains_voltage_l1_n",
            since=found[10].at,
            until=found[20].at,
            newestFirst=True,
            limit=3,
        )
        self.assertEqual([one.at for one in some], [one.at for one in reversed(found[10:20])])
        self.assertEqual(set(some[0].points), {"mains_frequency", "mains_voltage_l1_n"})

    def test_history_of_what_there_is_not(self) -> None:
        self.assertRaises(errors.UnknownDevice, self.ask, commands.GetHistory, hostid=HOSTID)
        self.control.online()
        self.assertRaises(errors.NoSuchPoint, self.ask, commands.GetHistory, hostid=HOSTID, points="x")

    def test_events(self) -> None:
        for number in range(2000):
            self.control.fleet.events.emit(
                Kind.ALARM_RAISED, HOSTID, alarm=number, signal="s", title="t", severity="warning"
            )
        self.control.world.write_batch()
        self.control.world.write_batch()
        self.control.world.write_batch()
        self.control.world.write_batch()
        found = self.all_of(commands.ListEvents, "events", hostid=HOSTID)
        self.assertEqual([one.details["alarm"] for one in found], list(range(2000)))

    def test_alarms(self) -> None:
        self.control.online()
        self.control.fleet.uploads.full(full_upload(coils={0, 6, 41, 65}), HGM6120N_PLAN, historic=False)
        opened = self.all_of(commands.ListAlarms, "alarms")
        self.assertNotEqual(opened, [])
        alarm = self.ask(commands.AcknowledgeAlarm, alarm=opened[0].number, requester="alice")["alarm"]
        self.assertEqual(alarm.acknowledged_by, "alice (uid 1000 pid 77)")
        self.control.fleet.uploads.full(full_upload(), HGM6120N_PLAN, historic=False)
        self.control.world.write_batch()
        self.assertEqual(self.all_of(commands.ListAlarms, "alarms", hostid=HOSTID), [])
        ended = self.all_of(commands.ListAlarms, "alarms", hostid=HOSTID, ended=True, limit=1)
        self.assertEqual([one.number for one in ended], [one.number for one in opened])
        self.assertRaises(errors.NoSuchAlarm, self.ask, commands.AcknowledgeAlarm, alarm=opened[0].number)
        self.assertRaises(errors.UnknownDevice, self.ask, commands.ListAlarms, hostid="nobody")

    def test_a_record_that_is_longer_than_a_value(self) -> None:
        self.control.fleet.events.emit(
            Kind.LOGIN_REFUSED, HOSTID, address="192.0.2.1", retcode="000004", reason="x" * 200_000
        )
        self.control.fleet.events.emit(Kind.OFFLINE, HOSTID, since=1)
        self.control.world.write_batch()
        found = self.all_of(commands.ListEvents, "events")
        self.assertEqual([len(str(one.details.get("reason", ""))) for one in found], [200_000, 0])

    def test_store_that_is_down(self) -> None:
        class Down(MemoryStore):
            def events(self, query: Query) -> Deferred[Any]:
                return fail(StoreUnavailable("disk full"))

        self.ask = Plain(ControlWorld(store=Down())).ask
        error = self.assertRaises(errors.Unavailable, self.ask, commands.ListEvents)
        self.assertIn("disk full", str(error))


class DeviceTests(_TestCase):
    def test_settings(self) -> None:
        self.control.online()
        changes = Changes(enabled=False, history_interval=10.0)
        device = self.ask(commands.SetDevice, hostid=HOSTID, changes=changes)["device"]
        self.assertEqual((device.settings.enabled, device.settings.history_interval), (False, 10.0))
        device = self.ask(commands.SetDevice, hostid=HOSTID, changes=Changes(history_interval=None))["device"]
        self.assertEqual((device.settings.enabled, device.settings.history_interval), (False, None))

    def test_settings_that_cannot_be(self) -> None:
        self.control.online()
        self.assertRaises(errors.BadArgument, self.ask, commands.SetDevice, hostid=HOSTID, changes=Changes(data_mode=7))
        self.assertRaises(errors.UnknownDevice, self.ask, commands.SetDevice, hostid="nobody", changes=Changes())
        for text in (b"{", b'{"nonsense":1}', b'{"enabled":"yes"}', b"[]"):
            box = amp.Box({b"hostid": HOSTID.encode(), b"changes": text})
            self.assert_refused(box, b"SetDevice", b"BAD_ARGUMENT")

    def assert_refused(self, box: amp.Box, command: bytes, code: bytes) -> None:
        outcome: list[Any] = []
        self.plain.client._sendBoxCommand(command, box).addBoth(outcome.append)
        self.plain.pump()
        self.assertEqual(outcome[0].value.errorCode, code)

    def test_enrol(self) -> None:
        device = self.ask(commands.Enrol, hostid=OTHER, hostname="Genset 7", password="secret")["device"]
        self.assertEqual((device.row.hostname, device.has_password, device.row.online), ("Genset 7", True, False))
        device = self.ask(commands.Enrol, hostid="BBB")["device"]
        self.assertFalse(device.has_password)
        self.assertRaises(errors.AlreadyEnrolled, self.ask, commands.Enrol, hostid=OTHER)
        self.assertRaises(errors.BadArgument, self.ask, commands.Enrol, hostid="")

    def test_enrol_too_many(self) -> None:
        self.ask = Plain(ControlWorld(max_devices=1)).ask
        self.ask(commands.Enrol, hostid=OTHER)
        self.assertRaises(errors.RegistryFull, self.ask, commands.Enrol, hostid=HOSTID)


class CommandTests(_TestCase):
    def setUp(self) -> None:
        super().setUp()
        self.control.online()

    def test_done(self) -> None:
        asked = self.plain.begin(commands.SendCommand, hostid=HOSTID, name="auto", requester="alice")
        self.assertNoResult(asked)
        self.control.clock.advance(0.25)
        self.control.sent[0].obeyed()
        self.plain.pump()
        answer = self.successResultOf(asked)
        self.assertEqual((answer["outcome"], answer["reply"]), ("done", "00050003FF007DEB,1"))
        self.assertAlmostEqual(answer["seconds"], 0.25, delta=0.002)
        command = self.ask(commands.GetCommand, commandId=answer["commandId"])["command"]
        self.assertEqual((command.requester, command.door, command.name), ("alice (uid 1000 pid 77)", "amp", "auto"))
        self.assertEqual((command.uid, command.outcome), (answer["uid"], "done"))

    def test_answers_come_in_any_order(self) -> None:
        first = self.plain.begin(commands.SendCommand, hostid=HOSTID, name="auto")
        self.assertEqual(self.ask(commands.Status)["status"].devices, 1)
        self.assertNoResult(first)

    def test_refused(self) -> None:
        asked = self.plain.begin(commands.WriteConfig, hostid=HOSTID, result="00050003FF00", datatype=1, timeout=7.0)
        self.assertEqual(self.control.sent[0].timeout_s, 7.0)
        self.control.sent[0].obeyed(0)
        self.plain.pump()
        self.assertEqual(self.successResultOf(asked)["outcome"], "refused")

    def test_port(self) -> None:
        self.plain.begin(commands.WritePort, hostid=HOSTID, modulePort=2, moduleBaud=1)
        message: Any = self.control.sent[0].message
        self.assertEqual((message.modulePort, message.moduleBaud), (2, 1))

    def test_reset(self) -> None:
        asked = self.plain.begin(commands.Reset, hostid=HOSTID)
        self.control.sent[0].obeyed()
        self.plain.pump()
        self.assertEqual(self.successResultOf(asked)["outcome"], "done")

    def test_not_allowed(self) -> None:
        refused = (
            (errors.UnknownDevice, commands.SendCommand, {"hostid": "nobody", "name": "auto"}),
            (errors.UnknownCommand, commands.SendCommand, {"hostid": HOSTID, "name": "explode"}),
            (errors.BadFrame, commands.WriteConfig, {"hostid": HOSTID, "result": "0103000000"}),
            (errors.BadPort, commands.WritePort, {"hostid": HOSTID, "modulePort": 9, "moduleBaud": 0}),
            (errors.BadArgument, commands.WriteConfig, {"hostid": HOSTID, "result": "", "datatype": 2}),
            (errors.BadArgument, commands.Reset, {"hostid": HOSTID, "timeout": 0.0}),
            (errors.BadArgument, commands.Reset, {"hostid": HOSTID, "timeout": float("nan")}),
            (errors.BadArgument, commands.Reset, {"hostid": HOSTID, "timeout": float("inf")}),
            (errors.UnknownDevice, commands.ListCommands, {"hostid": "nobody"}),
        )
        for kind, command, arguments in refused:
            self.assertRaises(kind, self.ask, command, **arguments)
        self.control.world.register(OTHER)
        self.assertRaises(errors.DeviceOffline, self.ask, commands.Reset, hostid=OTHER)
        self.assertEqual(self.control.sent, [])

    def test_what_is_not_allowed_is_in_the_log(self) -> None:
        """With who asked; a question about a device that there is not is none of that."""
        with capturedLogs() as logged:
            self.assertRaises(errors.UnknownDevice, self.ask, commands.GetDevice, hostid="nobody")
            self.assertRaises(errors.UnknownDevice, self.ask, commands.SendCommand, hostid="nobody", name="auto")
            self.assertRaises(errors.BadPort, self.ask, commands.WritePort, hostid=HOSTID, modulePort=9, moduleBaud=0)
        said = [formatEvent(event).partition("control: ")[2].partition(": ")[2] for event in logged]
        self.assertEqual(
            [line.partition(": ")[0] for line in said if line],
            [f"'{name}' of (uid 1000 pid 77) is not allowed" for name in ("SendCommand", "WritePort")],
        )

    def test_queue(self) -> None:
        asked = [self.plain.begin(commands.SendCommand, hostid=HOSTID, name="auto") for _ in range(6)]
        self.assertRaises(errors.QueueFull, self.ask, commands.SendCommand, hostid=HOSTID, name="auto")
        self.assertEqual(len(self.control.sent), 1)
        under_way = self.all_of(commands.ListCommands, "commands", hostid=HOSTID, limit=2)
        self.assertEqual(len(under_way), 6)
        numbers = [one.number for one in under_way]
        cancelled = self.ask(commands.CancelCommand, commandId=numbers[3])["command"]
        self.assertEqual(cancelled.outcome, "not sent")
        self.assertEqual(self.successResultOf(asked[3])["outcome"], "not sent")
        self.assertRaises(errors.TooLate, self.ask, commands.CancelCommand, commandId=numbers[0])
        self.assertRaises(errors.NoSuchCommand, self.ask, commands.CancelCommand, commandId=999)
        self.assertRaises(errors.NoSuchCommand, self.ask, commands.GetCommand, commandId=999)
        under_way = [self.ask(commands.GetCommand, commandId=number)["command"] for number in numbers]
        self.assertEqual([one.outcome for one in under_way], [None, None, None, "not sent", None, None])

    def test_one_whose_asker_has_gone_is_in_the_audit(self) -> None:
        self.plain.begin(commands.SendCommand, hostid=HOSTID, name="auto")
        self.plain.responder.connectionLost(_lost())
        self.control.sent[0].obeyed()
        (command,) = Plain(self.control).ask(commands.ListCommands)["commands"]
        self.assertEqual(command.outcome, "done")

    def test_requester_cannot_pose_as_somebody_else(self) -> None:
        said = "root (uid 0 pid 1)\n" + "x" * 100
        self.plain.begin(commands.SendCommand, hostid=HOSTID, name="auto", requester=said)
        (command,) = self.ask(commands.ListCommands)["commands"]
        self.assertTrue(command.requester.startswith("root [uid 0 pid 1] xx"), command.requester)
        self.assertTrue(command.requester.endswith("x (uid 1000 pid 77)"), command.requester)
        self.assertEqual(len(command.requester), 64)


def _lost() -> Any:
    return Failure(ConnectionDone())


class NewsTests(_TestCase):
    def setUp(self) -> None:
        super().setUp()
        self.control.online()
        self.news: list[dict[str, Any]] = []
        self.plain.client.locateResponder = self.locate  # type: ignore[method-assign]

    def locate(self, name: bytes) -> Any:
        def hear(box: amp.Box) -> amp.Box:
            self.news.append(commands.Event.parseArguments(box, None))
            return amp.Box()

        return hear if name == b"Event" else None

    def gather(self) -> None:
        self.control.clock.advance(GATHER_S)
        self.plain.pump()

    def test_events_uploads_and_commands(self) -> None:
        last = self.ask(commands.Watch, live=True, commands=True)["lastEvent"]
        self.assertEqual(last, self.control.fleet.events.last_number)
        self.control.fleet.uploads.full(full_upload(), HGM6120N_PLAN, historic=False)
        self.control.fleet.events.emit(Kind.CLOCK_ASKED, HOSTID)
        asked = self.plain.begin(commands.SendCommand, hostid=HOSTID, name="auto")
        self.gather()
        self.assertEqual([one.number for one in self.news[0]["events"]], [last + 1])
        self.assertEqual(self.news[0]["live"], {HOSTID: 1})
        self.assertEqual([one.outcome for one in self.news[0]["commands"]], [None])
        self.control.sent[0].obeyed()
        self.gather()
        self.assertEqual([one.outcome for one in self.news[1]["commands"]], ["done"])
        self.assertEqual([one.kind for one in self.news[1]["events"]], ["commanded"])
        self.successResultOf(asked)

    def test_only_events_where_nothing_else_was_asked_for(self) -> None:
        self.ask(commands.Watch)
        self.control.fleet.uploads.full(full_upload(), HGM6120N_PLAN, historic=False)
        self.plain.begin(commands.SendCommand, hostid=HOSTID, name="auto")
        self.gather()
        self.assertEqual(self.news, [])

    def test_second_one_takes_the_place_of_the_first(self) -> None:
        self.ask(commands.Watch)
        self.ask(commands.Watch, hostid=OTHER)
        self.control.fleet.events.emit(Kind.CLOCK_ASKED, HOSTID)
        self.gather()
        self.assertEqual(self.news, [])

    def test_unwatch(self) -> None:
        self.ask(commands.Watch, live=True, commands=True)
        self.ask(commands.Unwatch)
        self.ask(commands.Unwatch)
        self.control.fleet.events.emit(Kind.CLOCK_ASKED, HOSTID)
        self.control.fleet.uploads.full(full_upload(), HGM6120N_PLAN, historic=False)
        self.gather()
        self.assertEqual(self.news, [])

    def test_one_that_has_gone_hears_nothing(self) -> None:
        self.ask(commands.Watch, live=True, commands=True)
        self.plain.responder.connectionLost(_lost())
        self.assertEqual(self.plain.gone, [self.plain.responder])
        self.control.fleet.events.emit(Kind.CLOCK_ASKED, HOSTID)
        self.gather()
        self.assertEqual(self.news, [])

    def test_one_that_does_not_read(self) -> None:
        self.ask(commands.Watch, live=True)
        self.plain.reads = False
        for _ in range(50):
            for _ in range(100):
                self.control.fleet.events.emit(
                    Kind.ALARM_RAISED, HOSTID, alarm=1, signal="s", title="t" * 100, severity="warning"
                )
            self.control.clock.advance(1)
        self.assertLess(len(self.plain.from_server.value()), PAGE_BYTES)
        self.plain.reads = True
        self.plain.pump()
        self.gather()
        self.assertGreater(self.news[1]["missed"], 3000)
        self.assertEqual(self.news[0]["missed"], 0)

    def test_one_that_never_reads_is_closed(self) -> None:
        self.ask(commands.Watch)
        self.plain.reads = False
        self.control.fleet.events.emit(Kind.CLOCK_ASKED, HOSTID)
        self.control.clock.pump([1] * 70)
        self.assertTrue(self.plain.from_server.disconnected)

    def test_one_that_does_not_know_what_news_are_is_closed(self) -> None:
        del self.plain.client.locateResponder
        self.ask(commands.Watch)
        self.control.fleet.events.emit(Kind.CLOCK_ASKED, HOSTID)
        self.gather()
        self.assertTrue(self.plain.from_server.disconnected)


class ConnectionTests(_TestCase):
    """Nothing that a program does ends more than its own connection, and most things not even that."""

    def answer_to(self, box: dict[bytes, bytes]) -> dict[bytes, bytes]:
        self.plain.raw(amp.Box(box).serialize())
        (answer,) = amp.parseString(self.plain.from_server.value())
        self.plain.from_server.clear()
        return dict(answer)

    def test_missing_and_wrong_arguments(self) -> None:
        for box, what in (
            ({b"_command": b"GetDevice"}, b"hostid: missing"),
            ({b"_command": b"GetDevice", b"hostid": b"\xff"}, b"hostid: UnicodeDecodeError"),
            ({b"_command": b"GetCommand", b"commandId": b"one"}, b"commandId: ValueError"),
            ({b"_command": b"GetCommand", b"commandId": b"9" * 5000}, b"commandId: ValueError"),
            ({b"_command": b"GetLive", b"hostid": b"x", b"raw": b"perhaps"}, b"raw: TypeError"),
            ({b"_command": b"ListEvents", b"after": b"x"}, b"after: not a place that a page before has named"),
        ):
            answer = self.answer_to({**box, b"_ask": b"1"})
            self.assertEqual((answer[b"_error_code"], answer[b"_error_description"]), (b"BAD_ARGUMENT", what))
        self.assertFalse(self.plain.from_server.disconnected)

    def test_numbers_that_no_database_bears(self) -> None:
        for name in ("since", "until"):
            self.ask(commands.ListEvents, **{name: 10**30})
        self.ask(commands.ListEvents, limit=-(10**30), after=f"{'9' * 19}.{'9' * 19}")
        self.assertRaises(errors.NoSuchCommand, self.ask, commands.GetCommand, commandId=10**30)

    def test_unknown_command(self) -> None:
        for name in (b"Explode", b"StartTLS", b"Event", b"_Command", b"x" * 60_000):
            answer = self.answer_to({b"_command": name, b"_ask": b"1"})
            self.assertEqual(answer[b"_error_code"], b"UNHANDLED")
            self.assertLess(len(answer[b"_error_description"]), 1100)
        self.assertFalse(self.plain.from_server.disconnected)

    def test_each_refusal_has_its_own_code(self) -> None:
        for code, kind in errors.BY_CODE.items():
            self.patch(self.control.operations, "status", Mock(side_effect=kind("why" * 1000)))
            answer = self.answer_to({b"_command": b"Status", b"_ask": b"1"})
            self.assertEqual(answer[b"_error_code"], code.upper().encode())
            self.assertEqual(len(answer[b"_error_description"]), 1000)

    def test_our_bug(self) -> None:
        self.patch(self.control.operations, "status", lambda: 1 // 0)
        answer = self.answer_to({b"_command": b"Status", b"_ask": b"1"})
        self.assertEqual(answer[b"_error_code"], b"INTERNAL_ERROR")
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertFalse(self.plain.from_server.disconnected)

    def test_our_bug_in_an_answer(self) -> None:
        self.patch(self.control.operations, "status", object)
        answer = self.answer_to({b"_command": b"Status", b"_ask": b"1"})
        self.assertEqual(answer[b"_error_code"], b"INTERNAL_ERROR")
        self.assertEqual(len(self.flushLoggedErrors(amp.BadLocalReturn)), 1)

    def test_what_is_not_amp(self) -> None:
        for segment in (
            b"GET / HTTP/1.1\r\n\r\n",
            bytes(100),
            amp.Box({b"_answer": b"7"}).serialize(),
            amp.Box({b"_error": b"7"}).serialize(),
            amp.Box({b"x": b"y"}).serialize(),
            amp.Box({b"_command": b"Status"}).serialize(),
        ):
            plain = Plain(self.control)
            plain.raw(segment + amp.Box({b"_command": b"Status", b"_ask": b"1"}).serialize())
            self.assertTrue(plain.from_server.disconnected, segment)
            self.assertEqual(plain.from_server.value(), b"", segment)

    def test_a_command_that_nobody_waits_for_is_not_carried_out(self) -> None:
        self.control.online()
        box = {b"_command": b"SendCommand", b"hostid": HOSTID.encode(), b"name": b"start"}
        self.plain.raw(amp.Box(box).serialize())
        self.assertEqual(self.control.sent, [])
        self.assertTrue(self.plain.from_server.disconnected)

    def test_endless_request(self) -> None:
        for number in range(MOST_BOX_BYTES // 60_000 + 1):
            self.assertFalse(self.plain.from_server.disconnected)
            self.plain.raw(b"\x00\x02%02d\xea\x60" % number + bytes(60_000))
        self.assertTrue(self.plain.from_server.disconnected)

    def test_many_requests_are_not_one_long_one(self) -> None:
        for _ in range(MOST_BOX_BYTES // 60_000 + 5):
            self.assertRaises(errors.UnknownDevice, self.ask, commands.GetDevice, hostid="x" * 60_000)

    def test_too_many_requests(self) -> None:
        self.patch(connection, "MOST_IN_FLIGHT", 3)
        self.control.online()
        asked = [self.plain.begin(commands.SendCommand, hostid=HOSTID, name="auto") for _ in range(3)]
        self.assertRaises(errors.TooManyRequests, self.ask, commands.SendCommand, hostid=HOSTID, name="start")
        self.control.sent[0].obeyed()
        self.plain.pump()
        self.successResultOf(asked[0])
        self.ask(commands.Status)
        self.assertNotIn("start", [one.name for one in self.ask(commands.ListCommands)["commands"]])

    def test_file_descriptor(self) -> None:
        read_end, write_end = os.pipe()
        self.addCleanup(os.close, write_end)
        self.plain.responder.fileDescriptorReceived(read_end)
        self.assertTrue(self.plain.from_server.disconnected)
        self.assertRaises(OSError, os.fstat, read_end)

    def test_one_that_does_not_read_is_not_read_from(self) -> None:
        for number in range(10):
            self.control.world.register(f"{number:024}")
        request = amp.Box({b"_command": b"ListDevices", b"_ask": b"1"}).serialize()
        transport, responder = self.plain.from_server, self.plain.responder
        full = 5000
        write = transport.write

        def write_and_pause(segment: bytes) -> None:
            write(segment)
            if len(transport.value()) > full and transport.producer is not None and not responder.paused:
                transport.producer.pauseProducing()

        self.patch(transport, "write", write_and_pause)
        self.plain.raw(request * 100)
        self.assertLess(len(transport.value()), 2 * full)
        self.assertEqual(transport.producerState, "paused")
        answered = 0
        for _ in range(200):
            answered += len(amp.parseString(transport.value()))
            transport.clear()
            if not responder.paused:
                break
            responder.resumeProducing()
        self.assertEqual(answered, 100)
        self.assertEqual(transport.producerState, "producing")

    def test_resumed_while_it_parses_does_nothing_twice(self) -> None:
        request = amp.Box({b"_command": b"Status", b"_ask": b"1"}).serialize()
        transport, responder = self.plain.from_server, self.plain.responder
        write = transport.write

        def write_and_hiccup(segment: bytes) -> None:
            write(segment)
            responder.pauseProducing()
            responder.resumeProducing()

        self.patch(transport, "write", write_and_hiccup)
        self.plain.raw(request * 5)
        self.assertEqual(len(amp.parseString(transport.value())), 5)

    @given(st.lists(st.binary(max_size=300), max_size=5))
    def test_garbage(self, segments: list[bytes]) -> None:
        plain = Plain(self.control)
        for segment in segments:
            plain.raw(segment)
        self.assertEqual(self.flushLoggedErrors(), [])

    @given(
        st.dictionaries(
            st.sampled_from([b"_ask", b"_command", b"_answer", b"_error", b"_error_code", b"hostid", b"limit", b"x"]),
            st.sampled_from([b"1", b"Status", b"ListEvents", b"Watch", b"GetHistory", b"", b"\xff", b"SetDevice"]),
            max_size=8,
        )
    )
    def test_boxes_of_all_kinds(self, box: dict[bytes, bytes]) -> None:
        plain = Plain(self.control)
        plain.raw(amp.Box(box).serialize())
        self.assertEqual(self.flushLoggedErrors(), [])
        for answer in amp.parseString(plain.from_server.value()):
            self.assertNotEqual(answer.get(b"_error_code"), b"INTERNAL_ERROR")

    def test_records_are_json(self) -> None:
        answer = self.answer_to({b"_command": b"Status", b"_ask": b"1"})
        self.assertEqual(json.loads(answer[b"status"])["devices"], 0)
