"""cmmctl enrol, device set, acknowledge: against a real daemon's side in this process."""

from twisted.internet.defer import succeed

from cmmd.store.interface import StoreUnavailable
from tests.cli_world import CmmctlTestCase
from tests.uploads import HGM6120N_PLAN, full_upload
from tests.world import HOSTID

OTHER = "AAAAAAAAAAAAAAAAAAAAAAAA"


class EnrolTests(CmmctlTestCase):
    def file(self, text: str | bytes, name: str = "devices.csv") -> str:
        path = self.state / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return str(path)

    def enrolled(self) -> list[str]:
        return [one.hostid for one in self.control.fleet.registry.devices() if one.hostid != HOSTID]

    async def test_one(self) -> None:
        called = await self.done("--json", "enrol", OTHER, "--hostname", "機", "--moduletype", "HGM6120N")
        row = called.json["row"]
        self.assertEqual((row["hostid"], row["hostname"], row["moduletype"]), (OTHER, "機", "HGM6120N"))
        self.assertFalse(called.json["has_password"])
        called = await self.call("enrol", OTHER)
        self.assertEqual((called.status, called.err[-19:]), (1, "[already_enrolled]\n"))

    async def test_password(self) -> None:
        passwords = self.file("secret\nand more\n", "password")
        for number, option in enumerate(("--password=secret", f"--password-file={passwords}")):
            await self.done("enrol", str(number), option)
            device = self.control.fleet.registry.device(str(number))
            assert device is not None and device.password_hash is not None
            matches = await self.control.world.passwords.matches("secret", device.password_hash, "", lambda: True)
            self.assertTrue(matches)

    async def test_usage(self) -> None:
        lines = self.file("hostid\nA\n")
        for arguments in (
            (),
            (OTHER, "--csv", lines),
            ("--csv", lines, "--password", "x"),
            ("--csv", str(self.state / "missing")),
            ("--csv", self.file("hostid,colour\nA,red\n", "colours")),
            (OTHER, "--password", "x", "--password-file", lines),
        ):
            called = await self.call("enrol", *arguments)
            self.assertEqual((called.status, len(called.err.splitlines())), (2, 1), arguments)
        self.assertEqual(self.enrolled(), [])

    async def test_csv(self) -> None:
        lines = self.file(
            "\ufeffhostid,hostname,moduletype,password\r\nA,Genset A,HGM6120N, se cret\r\nB,\r\n\r\n C ,,,\r\n"
        )
        called = await self.call("enrol", "--csv", lines)
        self.assertEqual((called.status, called.err), (0, "cmmctl: 3 of 3 enrolled\n"))
        told = [" ".join(line.split()) for line in called.out.splitlines()]
        self.assertEqual(told, ["line hostid is", "2 A enrolled", "3 B enrolled", "5 C enrolled"])
        self.assertEqual(self.enrolled(), ["A", "B", "C"])
        device = self.control.fleet.registry.device("A")
        assert device is not None and device.password_hash is not None
        self.assertEqual((device.hostname, device.moduletype), ("Genset A", "HGM6120N"))
        self.assertTrue(await self.control.world.passwords.matches(" se cret", device.password_hash, "", lambda: True))

    async def test_bad_lines_spoil_nothing_else(self) -> None:
        lines = self.file(
            b'A\n"B\n\xff\xfe,C\nD,1,2,3,4\n,name\n' + HOSTID.encode() + b"\n" + b"x" * 25 + b"\nE,Genset\n"
        )
        called = await self.call("--json", "enrol", "--csv", lines)
        self.assertEqual((called.status, called.err), (1, ""))
        errors = [(one["line"], one["error"]) for one in called.json]
        self.assertEqual(
            errors,
            [
                (1, None),
                (2, "bad_line"),
                (3, "bad_line"),
                (4, "bad_line"),
                (5, "bad_line"),
                (6, "already_enrolled"),
                (7, "bad_argument"),
                (8, None),
            ],
        )
        self.assertEqual(self.enrolled(), ["A", "E"])

    async def test_columns_by_name(self) -> None:
        await self.done("--json", "enrol", "--csv", self.file("password,hostid\nsecret,A\n"))
        device = self.control.fleet.registry.device("A")
        assert device is not None
        self.assertIsNotNone(device.password_hash)

    async def test_daemon_that_goes_away(self) -> None:
        async def goes_away(hostid: str, **_: object) -> object:
            for factory in self.programs._factories:
                for connection in tuple(factory.connections):
                    connection.abort()
            raise StoreUnavailable("gone")

        self.control.fleet.registry.enrol = goes_away  # type: ignore[method-assign,assignment]
        called = await self.call("--json", "enrol", "--csv", self.file("A\nB\n"))
        self.assertEqual((called.status, [one["hostid"] for one in called.json]), (3, ["A"]))
        self.assertEqual(called.error["error"], "outcome_unknown")


class DeviceTests(CmmctlTestCase):
    async def test_set_and_put_back(self) -> None:
        called = await self.done(
            "--json", "device", HOSTID, "set", "history-interval=30", "data-mode=0", "profile=hgm4000n", "enabled=false"
        )
        allowed = await self.done("device", HOSTID, "set", "history=on")
        self.assertIn("history=true, history-interval=30.0", allowed.out)
        settings = called.json["settings"]
        self.assertEqual((settings["history_interval"], settings["data_mode"]), (30.0, 0))
        self.assertEqual((settings["profile"], settings["enabled"], settings["online_rate"]), ("hgm4000n", False, None))
        called = await self.done("device", HOSTID, "set", "history-interval=", "enabled=", "history=")
        self.assertIn("data-mode=0, profile=hgm4000n", called.out)
        self.assertNotIn("history-interval", called.out)
        called = await self.done("device", HOSTID, "set", "--json", "data-mode=", "profile=")
        self.assertEqual(called.json["settings"], {**dict.fromkeys(settings), "enabled": True, "history": False})

    async def test_not_recorded(self) -> None:
        """Each change says so, where the store does not answer, for programs and for people."""
        self.control.fleet.uploads.full(full_upload(coils={0, 6, 41, 65}), HGM6120N_PLAN, historic=False)
        number = str((await self.done("--json", "alarms")).json[0]["number"])
        changes = (
            ("acknowledge", number),
            ("lock", HOSTID, "--reason", "belt"),
            ("unlock", HOSTID),
            ("clear-input", HOSTID, "--yes"),
            ("device", HOSTID, "set", "data-mode=0"),
            ("device", HOSTID, "reset-password"),
            ("enrol", OTHER),
            ("device", OTHER, "forget", "--yes"),
            ("enrolment", "approve"),
        )
        self.patch(self.control.fleet.journal, "recorded", lambda: succeed(False))
        for change in changes:
            self.assertIs((await self.done("--json", *change)).json["recorded"], False, change)
            if change[0] != "enrol" and "forget" not in change:  # these are refused the second time
                self.assertIn("not recorded yet", (await self.done(*change)).out, change)
        self.assertNotIn("recorded", (await self.done("--json", "show", HOSTID)).json["device"])

    async def test_refused(self) -> None:
        called = await self.call("device", "nobody", "set", "data-mode=0")
        self.assertEqual((called.status, called.err[-17:]), (1, "[unknown_device]\n"))
        called = await self.call("device", HOSTID, "set", "data-mode=7")
        self.assertEqual((called.status, called.err[-15:]), (1, "[bad_argument]\n"))

    async def test_usage(self) -> None:
        for arguments in ((), (HOSTID,), (HOSTID, "set"), (HOSTID, "set", "data-mode"), (HOSTID, "set", "data-mode=x")):
            called = await self.call("device", *arguments)
            self.assertEqual((called.status, len(called.err.splitlines())), (2, 1), arguments)

    async def test_acknowledge(self) -> None:
        self.control.fleet.uploads.full(full_upload(coils={0, 6, 41, 65}), HGM6120N_PLAN, historic=False)
        number = (await self.done("--json", "alarms")).json[0]["number"]
        acknowledged = (await self.done("--json", "acknowledge", str(number))).json
        self.assertIn("cmmctl (uid ", acknowledged["acknowledged_by"])
        self.assertIn("acknowledged by", (await self.done("acknowledge", str(number))).out)
        called = await self.call("acknowledge", "999")
        self.assertEqual((called.status, called.err[-16:]), (1, "[no_such_alarm]\n"))
