"""Cases from the field on a whole daemon: one process, real sockets, the vectors as they stand, results by HTTP."""

import http.client
import json
import shutil
from contextlib import closing
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from cmmd.fleet.service.tokens import Tokens
from tests.daemon import DEADLINE_S, Daemon, endpoint, service_port, until
from tests.plain_device import PlainDevice, message
from tests.support import compact, load_cases
from tests.world import CATALOG

OK = 200


class DaemonTests(SynchronousTestCase):
    """All cases, each as a device of its own, at one daemon."""

    def setUp(self) -> None:
        folder = Path(mkdtemp(prefix="cmmd-field-"))
        self.addCleanup(shutil.rmtree, folder)
        self.web = service_port()
        self.daemon = Daemon(folder, {"web": {"listen": [endpoint(self.web)]}})
        self.addCleanup(self.daemon.kill)
        self.daemon.start([self.daemon.port, self.web])
        self.token = Tokens(self.daemon.state).add("me", "admin")

    def test_each(self) -> None:
        for number, case in enumerate(load_cases("evidence")):
            with self.subTest(case["name"]):
                self.read_by_evidence(f"E{number}", case)
        for name, check in (("place_in_change_upload", self.placed), ("plan_of_other_servers", self.reconnected)):
            for number, case in enumerate(load_cases(name)):
                with self.subTest(name):
                    check(f"{name[:6]}{number}", case)
        for case in load_cases("one_breaker"):
            with self.subTest(case["moduletype"]):
                self.commands(case)

    # --- the cases ---------------------------------------------------------------------------------------------------

    def read_by_evidence(self, hostid: str, case: dict[str, Any]) -> None:
        expected = case["expected"]
        self.attached(hostid, case["login"], *case["uploads"] * case["times"])

        def decided() -> bool:
            found = {one["name"]: one["choice"] for one in self.live(hostid)["hypotheses"]}
            return bool(found.items() >= expected["decided"].items())

        until(decided, "the hypotheses are decided")
        points = {point["name"]: point for point in self.live(hostid)["points"]}
        for name, value in expected.get("points", {}).items():
            self.assertEqual((points[name]["value"], points[name]["quality"]), (value, "good"), name)
        for name, values in expected.get("readings", {}).items():
            point = points[name]
            found = [one["value"] for one in point["readings"]]
            self.assertEqual((point["value"], point["quality"], found), (None, "undecided", values), name)
        for name, word in expected.get("words", {}).items():
            self.assertEqual(points[name]["word"], word)
        until(lambda: self.alarms(hostid) == expected["alarms"], "the alarms are these")
        enough = len(expected["decided"])
        until(lambda: self.kinds(hostid).count("reading_decided") >= enough, "events of what is decided")

    def placed(self, hostid: str, case: dict[str, Any]) -> None:
        self.attached(hostid, *case["messages"])

        def shown() -> bool:
            said = self.get(f"/devices/{hostid}")
            return (said["wgs84_longitude"], said["wgs84_latitude"]) == (113.6253, 34.7472)

        until(shown, "the place is shown")

    def reconnected(self, hostid: str, case: dict[str, Any]) -> None:
        """Its coils are taken, its connection is closed once, and there are no events of that."""
        device = self.attached(hostid, *case["messages"])
        until(lambda: "alarm_raised" in self.kinds(hostid), "an event of its alarm")
        self.assertEqual(device.rest(), b"")  # closed, in order, without a word
        self.attached(hostid, *case["messages"]).send(message("HB", hostid))
        kinds = self.kinds(hostid)
        self.assertEqual((kinds.count("online"), kinds.count("offline")), (1, 0))

    def commands(self, case: dict[str, Any]) -> None:
        model = case["moduletype"]
        params = {"hostname": "G", "password": "1", "moduletype": model}
        self.attached(model, {"method": "login", "params": params}, {"method": "LongCon"})
        for name in case["commands"]:  # they are not verified: an administrator has to set the profile
            _, said = self.ask("POST", f"/devices/{model}/commands", {"kind": "named", "name": name})
            self.assertEqual(said.get("code"), "unknown_command", said)
        for by_hand in (model.lower(), "hgm6120n"):
            status, _ = self.ask("PATCH", f"/devices/{model}/settings", {"profile": by_hand})
            self.assertEqual(status, OK)
            offered = {
                one["name"]: CATALOG.of(model, by_hand).command_by_name[one["name"]].frame
                for one in self.get(f"/devices/{model}")["commands"]
            }
            for name, frame in case["commands"].items():
                expected = frame if by_hand == model.lower() else None
                self.assertEqual(offered.get(name), expected, (by_hand, name))

    # --- the daemon's two sides --------------------------------------------------------------------------------------

    def attached(self, hostid: str, *messages: dict[str, Any]) -> PlainDevice:
        """Say the messages of a vector: the login on a connection of its own, all others on a long one."""
        login, *others = messages
        renamed = {**login, "params": {**login["params"], "hostid": hostid}}
        with PlainDevice(self.daemon.port) as device:
            self.assertEqual(device.ask(compact(renamed))["retcode"], "000000")
        device = PlainDevice(self.daemon.port)
        self.addCleanup(device.socket.close)
        if others[0]["method"] != "LongCon":
            others.insert(0, {"method": "LongCon"})
        for other in others:
            self.assertEqual(device.ask(compact({**other, "hostid": hostid}))["retcode"], "000000")
        return device

    def ask(self, method: str, path: str, body: object = None) -> tuple[int, Any]:
        with closing(http.client.HTTPConnection("127.0.0.1", self.web, timeout=DEADLINE_S)) as connection:
            headers = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"}
            connection.request(method, f"/api/v1{path}", None if body is None else json.dumps(body), headers)
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())

    def get(self, path: str) -> Any:
        status, said = self.ask("GET", path)
        self.assertEqual(status, OK, said)
        return said

    def live(self, hostid: str) -> Any:
        return self.get(f"/devices/{hostid}/live")

    def alarms(self, hostid: str) -> list[str]:
        return sorted(one["signal"] for one in self.get(f"/alarms?hostid={hostid}")["alarms"])

    def kinds(self, hostid: str) -> list[str]:
        """The kinds of a device's events, as far as they are kept."""
        return [one["kind"] for one in self.get(f"/events?hostid={hostid}")["events"]]
