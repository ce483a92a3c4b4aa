"""cmmctl for people beside the machine: lock, unlock, clear-input, --override, and a stop that waits for nothing."""

import io
from collections.abc import Mapping

from msgspec.structs import replace
from twisted.internet.defer import Deferred

from cmmd.cli.formatting import COMMANDS, command_line, text_lines
from cmmd.cli.send import OVERRIDES
from cmmd.fleet.commands.interlocks import OVERRIDABLE
from cmmd.fleet.commands.queue import Requester
from cmmd.fleet.devices.inputs import FRESH_S
from cmmd.fleet.service.records import DeviceDetails, Lock
from cmmd.store.records import Command
from tests.cli_world import Called, CmmctlTestCase, Terminal
from tests.control_world import HeldSession, until
from tests.uploads import HGM6120N_PLAN, STANDBY, full_upload
from tests.world import HOSTID

STRANGER = "198.51.100.9"

EACH: Mapping[str, tuple[str, ...]] = {
    "send": ("send", HOSTID, "start", "--yes", "--confirm", "0"),
    "write": ("write", HOSTID, "00050003FF00"),
    "port": ("port", HOSTID, "--port", "RS485", "--baud", "9600"),
    "reset": ("reset", HOSTID),
}


class PeopleTestCase(CmmctlTestCase):
    """Has a bystander who comes in by another door."""

    async def prepare(self) -> None:
        self.terminal = Terminal(self)

    async def locked_by_bob(self, reason: str = "belt") -> None:
        await self.control.operations.lock(HOSTID, reason, Requester("token bob", "http"))

    def asking(self, *arguments: str) -> Deferred[Called]:
        return self.begin(*arguments, err=self.terminal.out, inp=self.terminal.inp)

    async def asked(self) -> str:
        await until(lambda: "[y/N] " in self.terminal.seen)
        return " ".join(self.terminal.seen.split())

    async def refused(self, status: int, code: str, *arguments: str) -> str:
        called = await self.call("--json", *arguments)
        self.assertEqual((called.status, called.out, called.error["error"]), (status, "", code))
        message: str = called.error["message"]
        return message

    @property
    def lock(self) -> Lock | None:
        return self.control.operations.device(HOSTID).row.lock


class LockTests(PeopleTestCase):
    async def test_locked_and_unlocked(self) -> None:
        called = await self.done("lock", HOSTID, "--reason", "oil change")
        self.assertRegex(called.out, rf"\A{HOSTID}: locked by .* cmmctl \(uid \d+\) since .*: oil change\n\Z")
        for name, arguments in EACH.items():
            if name != "reset":
                self.assertIn("oil change", await self.refused(1, "locked", *arguments))
        self.assertEqual(self.control.sent, [])
        called = await self.done("--json", "unlock", HOSTID)
        self.assertIsNone(called.json["row"]["lock"])
        self.assertEqual((await self.done("unlock", HOSTID)).out, f"{HOSTID}: not locked\n")

    async def test_needs_a_reason(self) -> None:
        self.assertEqual((await self.call("lock", HOSTID)).status, 2)
        self.assertIn("reason", await self.refused(1, "bad_argument", "lock", HOSTID, "--reason", " "))

    async def test_locked_by_another_person(self) -> None:
        await self.locked_by_bob()
        called = await self.call("lock", HOSTID, "--reason", "oil")
        self.assertEqual(
            (called.status, called.err), (1, "cmmctl: not allowed: locked by token bob already: belt [locked]\n")
        )

    async def test_unlock_what_another_person_has_locked(self) -> None:
        await self.locked_by_bob()
        message = await self.refused(2, "not_confirmed", "unlock", HOSTID)
        self.assertIn("locked by token bob since ", message)
        self.assertIn("needs --force", message)
        for answer, status in (("n\n", 1), ("y\n", 0)):
            self.assertIsNotNone(self.lock)
            self.terminal = Terminal(self)
            asking = self.asking("unlock", HOSTID)
            seen = await self.asked()
            self.assertRegex(seen, r"Genset 1 \(HGM6120N\).*locked by token bob since [-0-9: ]+: belt.*Unlock it\?")
            self.terminal.type(answer)
            self.assertEqual((await asking).status, status)
        self.assertIsNone(self.lock)

    async def test_by_force(self) -> None:
        for option in ("--force", "--yes"):
            await self.locked_by_bob()
            await self.done("unlock", HOSTID, option)
            self.assertIsNone(self.lock)

    async def test_another_lock_by_now(self) -> None:
        await self.locked_by_bob()
        asking = self.asking("unlock", HOSTID)
        await self.asked()
        await self.locked_by_bob("hand in it")
        self.terminal.type("y\n")
        self.assertEqual((await asking).status, 1)
        self.assertIsNotNone(self.lock)
        self.assertIn("another lock by now", self.terminal.seen)


class InputTests(PeopleTestCase):
    async def test_clear(self) -> None:
        self.control.inhibit()
        message = await self.refused(2, "not_confirmed", "clear-input", HOSTID)
        self.assertRegex(
            message, rf"remote_inhibited on, last said .* by {STRANGER}; without a terminal it needs --yes"
        )
        for answer, status in (("n\n", 1), ("y\n", 0)):
            self.terminal = Terminal(self)
            asking = self.asking("clear-input", HOSTID)
            self.assertRegex(await self.asked(), rf"remote_inhibited on, last said .* by {STRANGER}.*Clear it\?")
            self.terminal.type(answer)
            self.assertEqual((await asking).status, status)
        self.assertEqual(self.control.operations.device(HOSTID).row.active_inputs, [])

    async def test_clear_without_asking(self) -> None:
        self.control.inhibit()
        called = await self.done("--json", "clear-input", HOSTID, "remote_inhibited", "--yes")
        self.assertEqual(called.json["row"]["active_inputs"], [])

    async def test_nothing_was_said(self) -> None:
        self.assertIn("fire_alarm cleared", (await self.done("clear-input", HOSTID, "fire_alarm")).out)

    async def test_no_such_input(self) -> None:
        self.assertEqual((await self.call("clear-input", HOSTID, "fire")).status, 2)

    async def test_override(self) -> None:
        self.control.inhibit()
        for arguments in EACH.values():
            self.assertIn("last said", await self.refused(1, "remote_inhibited", *arguments))
            asking = self.begin(*arguments, "--override", "remote_inhibited")
            sent = await self.sent()
            self.control.sent.clear()
            sent.obeyed()
            await asking
        listed = (await self.done("--json", "commands")).json
        self.assertEqual([one["overridden"] for one in listed], ["remote_inhibited"] * len(EACH))
        self.assertEqual({one["address"] for one in listed}, {"192.0.2.7"})
        self.assertEqual(set(OVERRIDES), OVERRIDABLE)

    async def test_asked_about_what_is_overridden(self) -> None:
        self.control.inhibit()
        for arguments in (("send", HOSTID, "start"), *(EACH[name] for name in ("write", "port", "reset"))):
            self.terminal = Terminal(self)
            asking = self.asking(*arguments, "--override", "remote_inhibited")
            self.assertRegex(await self.asked(), rf"Overridden: remote_inhibited on, last said .* by {STRANGER}")
            self.terminal.type("n\n")
            self.assertEqual((await asking).status, 1)
        self.assertEqual(self.control.sent, [])

    async def test_other_refusals_cannot_be_overridden(self) -> None:
        self.assertEqual((await self.call(*EACH["send"], "--override", "locked")).status, 2)


class ShownTests(PeopleTestCase):
    async def prepare(self) -> None:
        await super().prepare()
        await self.locked_by_bob()
        self.control.inhibit()
        self.control.clock.advance(FRESH_S + 1)

    async def test_show(self) -> None:
        text = (await self.done("show", HOSTID)).out
        self.assertRegex(text, r"locked +by token bob since .*: belt *\n")
        self.assertRegex(text, rf"inputs set +remote_inhibited on, last said .* by {STRANGER}, not repeated since *\n")
        self.assertRegex(text, r"refused now +locked by token bob.*\[locked\] *\n")
        self.assertRegex(text, r"stop refused +- *\n")

    async def test_devices(self) -> None:
        self.assertIn("locked, inhibited", (await self.done("devices")).out)
        (row,) = (await self.done("--json", "devices")).json
        self.assertEqual(
            (row["lock"]["by"], row["active_inputs"], row["in_doubt"]), ("token bob", ["remote_inhibited"], [])
        )

    async def test_views(self) -> None:
        for arguments in (("watch", HOSTID), ("watch",)):
            terminal = Terminal(self)
            watching = self.begin(*arguments, out=terminal.out, err=io.StringIO())
            expected = ["locked by token bob", "remote_inhibited on", STRANGER] if HOSTID in arguments else ["locked,"]
            await self.seen(terminal, *expected)
            watching.cancel()
            self.assertEqual((await watching).status, 0)

    async def seen(self, terminal: Terminal, *texts: str) -> None:
        await until(lambda: all(text in terminal.seen for text in texts))

    async def test_lines(self) -> None:
        watching = self.begin("watch", out=(out := io.StringIO()))
        await self.watched()
        await self.control.operations.unlock(HOSTID, Requester("root", "amp", "admin"))
        await until(lambda: "device_unlocked" in out.getvalue())
        self.assertIn("locked_by token bob", out.getvalue())
        watching.cancel()
        await watching

    async def test_two_addresses(self) -> None:
        other = HeldSession(STRANGER)
        self.control.fleet.presence.attach(HOSTID, other)
        self.assertIn("locked, inhibited, two addresses", (await self.done("devices")).out)
        shown = (await self.done("show", HOSTID)).out
        self.assertRegex(shown, rf"sessions +192.0.2.7, {STRANGER} *\n")
        self.assertIn(f"sessions from {STRANGER} claim to be this device, its latest login came from 192.0.2.7", shown)
        await self.control.operations.unlock(HOSTID, Requester("root", "amp", "admin"))
        self.assertIn(STRANGER, await self.refused(1, "ambiguous_session", *EACH["send"]))
        asking = self.begin("send", HOSTID, "stop", "--confirm", "0")
        (await self.sent()).obeyed()
        self.assertEqual((await asking).status, 0)
        self.assertEqual(other.sent, [])


class CommandTests(PeopleTestCase):
    def test_in_lists_and_lines(self) -> None:
        command = Command(
            number=7,
            hostid=HOSTID,
            kind="modbus",
            name="start",
            request="",
            requester="alice",
            door="http",
            uid="123456",
            accepted_at=1,
            sent_at=2,
            overridden="remote_inhibited",
            address="192.0.2.7",
        )
        heading, line = text_lines(COMMANDS, [command])
        self.assertIn("overridden        sent to", heading)
        self.assertIn("remote_inhibited  192.0.2.7", line)
        self.assertTrue(command_line(command).endswith(", by alice, remote_inhibited overridden, sent to 192.0.2.7"))
        self.assertTrue(command_line(replace(command, overridden=None, address=None)).endswith(", by alice"))


class StopTests(PeopleTestCase):
    def upload(self) -> None:
        self.control.fleet.uploads.full(full_upload(STANDBY, {0, self.stop_mode}), HGM6120N_PLAN, historic=False)

    @property
    def stop_mode(self) -> int:
        return self.control.fleet.live[HOSTID].profile.signal_by_name["stop_mode"].address

    async def test_nobody_is_asked(self) -> None:
        await self.locked_by_bob()
        self.control.inhibit()
        asking = self.asking("send", HOSTID, "stop")
        (await self.sent()).obeyed()
        self.upload()
        called = await asking
        self.assertEqual(called.status, 0)
        self.assertIn("stop to ", called.out)
        self.assertIn("done, confirmed", called.out)
        self.assertNotIn("[y/N]", self.terminal.seen)

    async def test_before_anything_else_is_asked(self) -> None:
        sent_before: list[int] = []
        device = self.control.operations.device

        def looked_up(hostid: str) -> DeviceDetails:
            sent_before.append(len(self.control.sent))
            return device(hostid)

        self.patch(self.control.operations, "device", looked_up)
        asking = self.begin("send", HOSTID, "stop", "--confirm", "0.05")
        (await self.sent()).obeyed()
        self.assertIn("not confirmed within 0.05 s", (await asking).out)
        self.assertEqual(sent_before, [1])

    async def test_whether_it_shows_itself_is_not_known(self) -> None:
        def fails(_: str) -> DeviceDetails:
            raise ZeroDivisionError

        self.patch(self.control.operations, "device", fails)
        asking = self.begin("send", HOSTID, "stop")
        (await self.sent()).obeyed()
        called = await asking
        self.assertEqual(called.status, 0)
        self.assertIn(": done (", called.out)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    async def test_refused(self) -> None:
        self.control.fleet.presence.detach(HOSTID, self.control.session)
        self.assertIn("offline", await self.refused(1, "device_offline", "send", HOSTID, "stop"))
