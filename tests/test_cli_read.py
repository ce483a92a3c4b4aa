"""Commands of cmmctl that change nothing, against a real daemon's side in this process."""

import csv
import io
from collections.abc import AsyncIterator

from cmmd.cli.options import NEWEST
from cmmd.cli.output import Output, write_readings_csv
from cmmd.fleet.events import Kind
from cmmd.fleet.service.records import ReadingRow
from tests.cli_world import CmmctlTestCase, Terminal
from tests.uploads import HGM6120N_PLAN, STANDBY, full_upload
from tests.world import HOSTID

OTHER = "AAAAAAAAAAAAAAAAAAAAAAAA"
NASTY = "[red]\\[/] :smile: \x1b[2J"


class ReadingTests(CmmctlTestCase):
    def upload(self, **registers: int) -> None:
        given = {int(name[1:]): value for name, value in registers.items()}
        self.control.fleet.uploads.full(full_upload({**STANDBY, **given}), HGM6120N_PLAN, historic=False)

    def uploads(self, count: int) -> None:
        for number in range(count):
            self.control.clock.advance(61)
            self.upload(r6=5000 + number)
            self.control.world.write_batch()

    async def test_status(self) -> None:
        called = await self.done("status", "--json")
        self.assertEqual((called.json["devices"], called.json["online"], called.json["store_up"]), (1, 1, True))
        called = await self.done("status")
        self.assertIn("1 online of 1", called.out)

    async def test_devices(self) -> None:
        self.control.world.register(OTHER, hostname=NASTY)
        called = await self.done("devices")
        heading, first, second = called.out.splitlines()
        self.assertEqual(" ".join(heading.split()), "number hostid name controller is mode engine alarms last upload")
        self.assertIn(f"{HOSTID}  Genset 1", first)
        self.assertIn("online", first)
        self.assertIn("[red]\\[/] :smile:", second)
        self.assertNotIn("\x1b", called.out)
        listed = (await self.done("--json", "devices")).json
        self.assertEqual([one["hostid"] for one in listed], [HOSTID, OTHER])
        self.assertEqual([one["hostid"] for one in (await self.done("--json", "devices", "--online")).json], [HOSTID])
        self.assertEqual([one["hostid"] for one in (await self.done("--json", "devices", "--offline")).json], [OTHER])

    async def test_devices_at_a_terminal(self) -> None:
        self.control.world.register(OTHER, hostname=NASTY)
        terminal = Terminal(self)
        called = await self.begin("devices", out=terminal.out)
        self.assertEqual(called.status, 0)
        for expected in (HOSTID, OTHER, "Genset 1", "[red]\\[/]", ":smile:"):
            self.assertIn(expected, terminal.seen)
        self.assertNotIn("\x1b[2J", terminal.seen)

    async def test_list_without_anything_in_it(self) -> None:
        for name in ("alarms", "commands"):
            self.assertEqual((await self.done("--json", name)).json, [])
            self.assertEqual(len((await self.done(name)).out.splitlines()), 1)
        self.assertEqual((await self.done("--json", "history", HOSTID)).out, "")

    async def test_show(self) -> None:
        self.upload()
        shown = (await self.done("--json", "show", HOSTID)).json
        self.assertEqual((shown["device"]["row"]["hostname"], shown["live"]["view"]["mode"]), ("Genset 1", "auto"))
        self.assertIsNone(shown["live"]["raw"])
        text = (await self.done("show", HOSTID)).out
        for expected in (
            "mains_frequency",
            "50.0 Hz",
            "RS485, 9600 bit/s",
            "auto_mode",
            "all by default",
            "scale: open (hundredths or tenths)",
        ):
            self.assertIn(expected, text)
        self.assertIn("0 since the daemon's start", text)
        self.assertNotIn("function 3", text)
        self.assertIn("function 3, from 0: 230 230", (await self.done("show", HOSTID, "--raw")).out)
        self.assertEqual((await self.call("show", "nobody")).status, 1)

    async def test_monitor(self) -> None:
        self.upload()
        monitor = (await self.done("--json", "monitor", HOSTID)).json
        self.assertEqual((monitor["id"], monitor["ymid"], monitor["hostid"], monitor["status"]), (1, 1, HOSTID, 1))
        self.assertEqual(monitor["mask"], {"01": [[0, 90]], "03": [[0, 45], [46, 10]]})
        text = (await self.done("monitor", HOSTID)).out
        for expected in ("{'01': [(0, 90)], '03': [(0, 45), (46, 10)]}", "00e600e6"):
            self.assertIn(expected, text)
        self.assertEqual((await self.call("monitor", "nobody")).status, 1)

    async def test_show_what_was_never_heard_of(self) -> None:
        self.control.world.register(OTHER, hostname="", moduletype="ACME")
        text = (await self.done("show", OTHER)).out
        self.assertIn("offline", text)
        self.assertNotIn("None", text)

    async def test_history(self) -> None:
        self.uploads(3)
        newest_first = (await self.done("--json", "history", HOSTID)).json_lines
        self.assertEqual([one["points"]["mains_frequency"] for one in newest_first], [50.02, 50.01, 50.0])
        at = newest_first[1]["at"]
        since = (await self.done("--json", "history", HOSTID, "--since", str(at))).json_lines
        self.assertEqual(since, newest_first[1::-1])
        until = (await self.done("--json", "history", HOSTID, "--until", str(at))).json_lines
        self.assertEqual(until, newest_first[2:])
        for more in (["--limit", "2"], ["--newest", "--limit", "2"]):
            self.assertEqual((await self.done("--json", "history", HOSTID, *more)).json_lines, newest_first[:2])
        oldest = (await self.done("--json", "history", HOSTID, "--oldest", "--limit", "1")).json_lines
        self.assertEqual(oldest, newest_first[2:])
        some = (await self.done("--json", "history", HOSTID, "--points", ["mains_frequency", " speed"][0])).json_lines
        self.assertEqual(some[0]["points"], {"mains_frequency": 50.02})

    async def test_history_for_people(self) -> None:
        self.uploads(2)
        text = (await self.done("history", HOSTID, "--points", "mains_frequency,mains_voltage_l1_n")).out
        self.assertEqual(text.splitlines()[0].split(), ["at", "reason", "mains_frequency", "mains_voltage_l1_n"])
        self.assertIn("interval  50.01            230", text)
        self.assertIn("points", (await self.done("history", HOSTID)).out.splitlines()[0])
        called = await self.call("history", HOSTID, "--points", "nonsense")
        self.assertEqual((called.status, called.err[-16:]), (1, "[no_such_point]\n"))

    async def test_more_than_are_shown(self) -> None:
        self.uploads(3)
        called = await self.call("history", HOSTID, "--limit", "2")
        self.assertEqual((called.status, len(called.out.splitlines())), (0, 3))
        self.assertIn("more than 2", called.err)
        self.assertEqual(len((await self.done("history", HOSTID, "--limit", "3")).out.splitlines()), 4)

    async def test_csv(self) -> None:
        self.uploads(2)
        for more in ([], ["--points", "mains_frequency,engine_state"]):
            called = await self.done("history", HOSTID, "--csv", "--oldest", *more)
            rows = list(csv.DictReader(io.StringIO(called.out)))
            self.assertEqual([row["mains_frequency"] for row in rows], ["50.0", "50.01"])
            self.assertEqual([row["reason"] for row in rows], ["first", "interval"])
            self.assertRegex(rows[0]["at"], r"\A2023-11-25T00:40:07\.5\d\dZ\Z")
            self.assertEqual(len(rows[0]) == 5, bool(more))
        self.assertEqual(len((await self.done("history", HOSTID, "--csv", "--limit", "1")).out.splitlines()), 2)

    async def test_csv_of_what_has_changed_its_points(self) -> None:
        async def readings() -> AsyncIterator[ReadingRow]:
            changing: list[dict[str, float | None]] = [{"a": 1.0, "b": None}, {"b": 2.5, "c": 3.0}]
            for number, points in enumerate(changing):
                yield ReadingRow(
                    number=number, at=1000 * number, reason="interval", source="", suppressed=0, points=points
                )

        out = io.StringIO()
        await write_readings_csv(Output(out, io.StringIO()), readings(), None, None)
        self.assertEqual(
            out.getvalue().splitlines(),
            [
                "at,reason,suppressed,a,b,c",
                "1970-01-01T00:00:00.000Z,interval,0,1.0,,",
                "1970-01-01T00:00:01.000Z,interval,0,,2.5,3.0",
            ],
        )

    async def test_events(self) -> None:
        for number in range(NEWEST + 1):
            self.control.fleet.events.emit(
                Kind.ALARM_RAISED, OTHER, alarm=number, signal="s", title=NASTY, severity="warning"
            )
        self.control.world.write_batch()
        kinds = [one["kind"] for one in (await self.done("--json", "events", HOSTID)).json_lines]
        self.assertEqual(kinds, ["online", "device_registered"])
        self.assertEqual(len((await self.done("--json", "events")).json_lines), NEWEST)
        self.assertEqual(len((await self.done("--json", "events", "--limit", "0")).json_lines), NEWEST + 3)
        self.assertEqual(len((await self.done("--json", "events", "--since", "2020-01-01")).json_lines), NEWEST + 3)
        called = await self.call("events", OTHER)
        self.assertIn("alarm 100, signal s, title [red]\\[/] :smile:", called.out.splitlines()[1])
        self.assertNotIn("\x1b", called.out)
        self.assertIn(f"more than {NEWEST}", called.err)

    async def test_alarms(self) -> None:
        self.control.fleet.uploads.full(full_upload(coils={0, 6, 41, 65}), HGM6120N_PLAN, historic=False)
        opened = (await self.done("--json", "alarms", HOSTID)).json
        self.assertNotEqual(opened, [])
        self.assertIn(opened[0]["title"], (await self.done("alarms")).out)
        self.upload()
        self.control.world.write_batch()
        self.assertEqual((await self.done("--json", "alarms")).json, [])
        ended = (await self.done("--json", "alarms", "--ended", "--oldest")).json
        self.assertEqual([one["number"] for one in ended], [one["number"] for one in opened])

    async def test_commands(self) -> None:
        asked = self.begin("send", HOSTID, "auto", "--confirm", "0")
        (await self.sent()).obeyed()
        await asked
        (command,) = (await self.done("--json", "commands", HOSTID)).json
        self.assertEqual((command["name"], command["outcome"], command["door"]), ("auto", "done", "amp"))
        self.assertIn("cmmctl", command["requester"])
        self.assertEqual((await self.done("--json", "commands")).json, [command])
        self.assertIn("auto", (await self.done("commands")).out)
