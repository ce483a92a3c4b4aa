"""What people beside the machine rely on, over AMP: the lock, inputs that are cleared or overridden, and stop."""

from typing import Any

from twisted.protocols import amp
from twisted.trial.unittest import SynchronousTestCase

from cmmd.control import commands, connection, errors
from cmmd.control.listeners import person_of
from cmmd.fleet.service import records
from tests.control_world import ControlWorld, Plain
from tests.world import HOSTID

EACH: tuple[tuple[type[amp.Command], dict[str, Any]], ...] = (
    (commands.SendCommand, {"name": "start"}),
    (commands.WriteConfig, {"result": "00050003FF00"}),
    (commands.WritePort, {"modulePort": 2, "moduleBaud": 0}),
    (commands.Reset, {}),
)
"""A command of each kind."""


class PeopleTestCase(SynchronousTestCase):
    """Has a device that is online, and a program."""

    def setUp(self) -> None:
        self.control = ControlWorld()
        self.control.online()
        self.plain = Plain(self.control)

    def ask(self, command: type[amp.Command], plain: Plain | None = None, **arguments: Any) -> dict[str, Any]:
        """The answer, as soon as what is to be kept has been written."""
        asked = (plain or self.plain).begin(command, hostid=HOSTID, **arguments)
        if not asked.called:
            self.control.world.write_batch()
            (plain or self.plain).pump()
        return self.successResultOf(asked)

    def refused(self, kind: type[errors.ControlError], command: type[amp.Command], **arguments: Any) -> str:
        error = self.failureResultOf(self.plain.begin(command, hostid=HOSTID, **arguments), kind)
        return str(error.value)

    def accepted(self, command: type[amp.Command], **arguments: Any) -> int:
        """Have the device obey a command; its number."""
        before = len(self.control.sent)
        asked = self.plain.begin(command, hostid=HOSTID, **arguments)
        self.assertEqual(len(self.control.sent), before + 1, "it is sent")
        self.control.sent[-1].obeyed()
        self.plain.pump()
        number: int = self.successResultOf(asked)["commandId"]
        return number


class LockTests(PeopleTestCase):
    def test_every_command_but_stop_and_reset(self) -> None:
        device = self.ask(commands.LockDevice, reason="oil change", requester="alice")["device"]
        self.assertEqual((device.row.lock.by, device.row.lock.reason), ("alice (uid 1000)", "oil change"))
        for command, arguments in EACH[:-1]:
            said = self.refused(errors.Locked, command, **arguments)
            self.assertRegex(said, r"locked by alice \(uid 1000\) since .*: oil change")
        self.accepted(commands.Reset)
        self.accepted(commands.SendCommand, name="stop")
        live = self.ask(commands.GetLive)["live"]
        self.assertEqual((live.lock.reason, live.blocked.code, live.stop_blocked), ("oil change", "locked", None))
        device = self.ask(commands.UnlockDevice, requester="alice")["device"]
        self.assertIsNone(device.row.lock)
        self.accepted(commands.SendCommand, name="start")

    def test_settings_that_would_act_at_the_next_login(self) -> None:
        self.ask(commands.LockDevice, reason="oil change", requester="alice")
        for changes in (records.Changes(set_port=0), records.Changes(set_baud=2), records.Changes(profile="hgm4000n")):
            said = self.refused(errors.Locked, commands.SetDevice, changes=changes)
            self.assertRegex(said, r"locked by alice \(uid 1000\) since .*: oil change")
        self.ask(commands.SetDevice, changes=records.Changes(history_interval=30))

    def test_another_process_of_the_same_person(self) -> None:
        self.ask(commands.LockDevice, reason="oil", requester="alice")
        other = Plain(self.control, known="uid 1000 pid 78")
        self.assertIsNone(self.ask(commands.UnlockDevice, other, requester="alice")["device"].row.lock)

    def test_what_another_caller_has_locked(self) -> None:
        self.ask(commands.LockDevice, Plain(self.control, known="CN bob"), reason="oil", requester="bob")
        self.assertIn("bob (CN bob)", self.refused(errors.Locked, commands.LockDevice, reason="mine"))
        for force in ({}, {"force": False}):
            self.assertIn("bob (CN bob)", self.refused(errors.AdminOnly, commands.UnlockDevice, **force))
        self.assertIsNotNone(self.ask(commands.GetDevice)["device"].row.lock)
        self.assertIsNone(self.ask(commands.UnlockDevice, force=True)["device"].row.lock)
        (unlocked,) = [one for one in self.control.world.events if one.kind == "device_unlocked"]
        self.assertEqual((unlocked.details["by"], unlocked.details["door"]), ("(uid 1000)", "amp"))

    def test_refused(self) -> None:
        for reason in ("", " ", "x" * 201):
            self.assertIn("reason", self.refused(errors.BadArgument, commands.LockDevice, reason=reason))
        nobody = self.plain.begin(commands.LockDevice, hostid="nobody", reason="oil")
        self.failureResultOf(nobody, errors.UnknownDevice)

    def test_persons(self) -> None:
        for known, person in (
            ("uid 1000 pid 77", "uid 1000"),
            ("CN alice", "CN alice"),
            ("CN uid 1 pid 7", "CN uid 1 pid 7"),
            ("CN alice pid 7", "CN alice pid 7"),
        ):
            self.assertEqual(person_of(known), person)


class InputTests(PeopleTestCase):
    def test_cleared(self) -> None:
        self.control.inhibit()
        self.assertIn("last said", self.refused(errors.RemoteInhibited, commands.SendCommand, name="start"))
        self.ask(commands.ClearInput, input="remote_inhibited", requester="alice")
        (cleared,) = [one.details for one in self.control.world.events if one.kind == "input_cleared"]
        self.assertEqual((cleared["by"], cleared["address"]), ("alice (uid 1000 pid 77)", "198.51.100.9"))
        self.accepted(commands.SendCommand, name="start")
        self.assertIn("remote_inhibited", self.refused(errors.BadArgument, commands.ClearInput, input="none"))

    def test_overridden_for_one_command(self) -> None:
        self.control.inhibit()
        for command, arguments in EACH:
            number = self.accepted(command, **arguments, override="remote_inhibited")
            kept = self.plain.ask(commands.GetCommand, commandId=number)["command"]
            self.assertEqual((kept.overridden, kept.address), ("remote_inhibited", "192.0.2.7"))
            self.refused(errors.RemoteInhibited, command, **arguments)

    def test_what_cannot_be_overridden(self) -> None:
        self.ask(commands.LockDevice, reason="oil")
        for command, arguments in EACH[:-1]:
            self.refused(errors.NotAllowed, command, **arguments, override="locked")
            self.refused(errors.Locked, command, **arguments, override="remote_inhibited")
        self.assertEqual(self.control.sent, [])


class StopTests(PeopleTestCase):
    def test_whatever_else_the_program_asks(self) -> None:
        self.patch(connection, "MOST_IN_FLIGHT", 2)
        self.patch(connection, "STOPS_BESIDES", 1)
        for _ in range(2):
            self.plain.begin(commands.SendCommand, hostid=HOSTID, name="auto")
        for command, arguments in EACH:
            self.refused(errors.TooManyRequests, command, **arguments)
        self.refused(errors.TooManyRequests, commands.GetLive)
        stops = [self.plain.begin(commands.SendCommand, hostid=HOSTID, name="stop") for _ in range(2)]
        self.assertNoResult(stops[0])
        self.refused(errors.TooManyRequests, commands.SendCommand, name="stop")  # not without any limit
        self.control.sent[0].obeyed()
        self.control.sent[1].obeyed()
        self.plain.pump()
        self.assertEqual([self.successResultOf(one)["outcome"] for one in stops], ["done", "done"])
        self.assertEqual(len(self.control.sent), 2, "both are the same stop")
