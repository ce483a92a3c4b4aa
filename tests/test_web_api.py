"""Every operation of the API, with good requests and with bad ones."""

import json
from typing import Any
from unittest.mock import Mock
from urllib.parse import quote, urlencode

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred, fail
from twisted.web.static import Data

from cmmd.controllers.entries import Signal
from cmmd.fleet import errors
from cmmd.fleet.alarms.alarms import AlarmSeverity
from cmmd.fleet.devices.settings import _NUMBERS, check_setting
from cmmd.fleet.errors import BadSetting
from cmmd.fleet.roles import Role
from cmmd.fleet.service import operations
from cmmd.fleet.service.device_rows import COLUMNS
from cmmd.store.interface import StoreUnavailable
from cmmd.web.api import context as keys_module
from cmmd.web.api import devices, records
from cmmd.web.api.context import ABOUT, KEPT_S, Keys
from cmmd.web.api.table import OPERATIONS
from cmmd.web.http.problems import STATUS, Refused
from cmmd.web.http.site import Empty, site
from tests import support  # noqa: F401 - hypothesis' settings
from tests.control_world import now
from tests.test_web_http_access import address
from tests.web_world import Answered, WebTestCase
from tests.world import CATALOG, HOSTID

LIVE = f"/devices/{HOSTID}/live"
WARNING: tuple[AlarmSeverity] = ("warning",)
COMMANDS = f"/devices/{HOSTID}/commands"

ABOUT_NO_FIELD = {
    *("unauthorized", "forbidden", "foreign_origin", "bad_csrf_token"),
    *("method_not_allowed", "not_acceptable", "too_large", "uri_too_long", "unsupported_media_type"),
    *("not_allowed", "commands_disabled", "device_disabled", "device_offline", "remote_inhibited", "remote_locked"),
    *(
        "queue_full",
        "not_audited",
        "too_late",
        "under_way",
        "registry_full",
        "locked",
        "ambiguous_session",
        "stale",
        "admin_only",
    ),
    *("engineer_only", "raw_disabled", "too_many_connections"),
    *("too_many_requests", "internal_error", "unavailable"),
}
"""Codes that are about who asks, the request as a whole, or how things are."""


class DeviceTests(WebTestCase):
    def many(self) -> list[str]:
        """Nine more devices, enrolled."""
        hostids = [f"{number:024}" for number in range(9)]
        for number, hostid in enumerate(hostids):
            now(self.world.fleet.registry.enrol(hostid, hostname=f"Yard {9 - number}", moduletype="HGM4020N"))
        return hostids

    def listed(self, **query: object) -> list[str]:
        answer = self.get("/devices?" + urlencode(query))
        self.assertEqual(answer.status, 200, answer.body)
        return [one["hostid"] for one in answer.json["devices"]]

    def test_list(self) -> None:
        answer = self.get("/devices")
        (device,) = answer.json["devices"]
        self.assertEqual((device["hostid"], device["online"], device["state"]), (HOSTID, True, "unknown"))
        self.assertIsNone(answer.json["next"])

    def test_filters(self) -> None:
        hostids = self.many()
        self.assertEqual(self.listed(online="true"), [HOSTID])
        self.assertEqual(self.listed(online="false"), hostids)
        self.assertEqual(self.listed(state="offline"), hostids)
        self.assertEqual(self.listed(profile="hgm4000n"), hostids)
        self.assertEqual(self.listed(q="yard 3"), [hostids[6]])
        self.assertEqual(self.listed(q=HOSTID[3:9].lower()), [HOSTID])
        self.assertEqual(self.listed(q="hgm6"), [HOSTID])
        self.assertEqual(self.listed(alarm="any"), [])
        self.assertEqual(len(self.listed(alarm="none")), 10)
        self.assertEqual(self.listed(enabled="false"), [])
        self.assertEqual(self.listed(mode="auto"), [])

    def test_pages_in_every_order(self) -> None:
        self.many()
        for sort in ("number", "hostid", "hostname", "state", "at"):
            for order in ("asc", "desc"):
                whole = self.listed(sort=sort, order=order)
                self.assertEqual(len(whole), 10)
                found: list[str] = []
                query: dict[str, object] = {"sort": sort, "order": order, "limit": 3}
                for _ in range(4):
                    page = self.get("/devices?" + urlencode(query)).json
                    found += [one["hostid"] for one in page["devices"]]
                    query["after"] = page["next"]
                self.assertEqual((found, page["next"]), (whole, None), (sort, order))
        self.assertEqual(self.listed(sort="hostname")[0], HOSTID)  # Genset before Yard

    def test_places_that_are_none(self) -> None:
        text = self.get("/devices?sort=hostname&limit=1")
        self.many()
        text = self.get("/devices?sort=hostname&limit=1").json["next"]
        for query in ({"after": "x"}, {"after": "ä"}, {"after": "W10"}, {"after": text}, {"after": "AAAA"}):
            answer = self.get("/devices?" + urlencode(query))
            self.assertEqual((answer.status, answer.json["field"]), (400, "query.after"), query)

    def test_fleet(self) -> None:
        self.many()
        fleet = self.get("/fleet").json
        self.assertEqual(fleet["columns"], list(COLUMNS))
        self.assertEqual(fleet["rows"][0][1], HOSTID)
        self.assertEqual(len(fleet["rows"]), 10)
        listed = self.get("/devices").json["devices"]
        self.assertEqual([dict(zip(COLUMNS, row, strict=True)) for row in fleet["rows"]], listed)

    def test_one(self) -> None:
        device = self.get(f"/devices/{HOSTID}").json
        self.assertEqual(device["row"]["hostid"], HOSTID)
        self.assertIn("auto", [one["name"] for one in device["commands"]])
        self.assertNotIn("password_hash", json.dumps(device))
        self.assertEqual(self.get("/devices/nobody").code, "unknown_device")

    def test_enrol(self) -> None:
        for hostid in ("a/b", "..", "a b"):
            self.assertEqual(self.ask("POST", "/devices", {"hostid": hostid}).code, "bad_argument")
        body = {"hostid": "a-b", "hostname": "Yard", "password": "1234"}
        answer = self.ask("POST", "/devices", body)
        self.assertEqual((answer.status, answer.headers["location"]), (201, "/api/v1/devices/a-b"))
        self.assertEqual(self.get("/devices/a-b").json["row"]["hostname"], "Yard")
        again = self.ask("POST", "/devices", body)
        self.assertEqual((again.status, again.code), (409, "already_enrolled"))

    def test_enrolment(self) -> None:
        self.assertEqual(self.get("/enrolment", "operator").json["policy"], "open")
        self.assertEqual(self.ask("PUT", "/enrolment", {"policy": "approve"}).json["policy"], "approve")
        self.assertEqual(self.ask("PUT", "/enrolment", {"policy": "closed"}).code, "bad_argument")
        for method, path in (("POST", "/enrolment/NONE/approve"), ("DELETE", "/enrolment/NONE")):
            self.assertEqual(self.ask(method, path).code, "unknown_device")
        reset = self.ask("POST", f"/devices/{HOSTID}/reset-password", {})
        self.assertEqual((reset.status, reset.json["has_password"]), (200, False))

    def test_settings(self) -> None:
        path = f"/devices/{HOSTID}/settings"
        answer = self.ask("PATCH", path, {"history_interval": 30, "profile": "hgm4000n"})
        self.assertEqual(answer.json["settings"]["history_interval"], 30)
        self.assertEqual(answer.json["row"]["profile"], "hgm4000n")
        answer = self.ask("PATCH", path, {"read_as": "starts=decimal, byte_order=big"})
        read = {one["name"]: (one["choice"], one["by"]) for one in answer.json["hypotheses"]}
        self.assertEqual((read["starts"], read["byte_order"]), (("decimal", "admin"), ("big", "admin")))
        self.assertEqual(self.ask("PATCH", path, {"read_as": "starts=odd"}).status, 400)
        self.ask("PATCH", path, {"read_as": None})
        merged = self.ask("PATCH", path, {"profile": None}, Content_Type="application/merge-patch+json")
        self.assertEqual((merged.json["row"]["profile"], merged.json["settings"]["profile"]), ("hgm6120n", None))
        for body, field in (
            ({"history_interval": 0}, "body.history_interval"),
            ({"data_mode": "1"}, "body.data_mode"),
            ({"set_port": 5}, "body.set_port"),
            ({"enabled": None}, "body.enabled"),
            ({"colour": "red"}, "body.colour"),
            ({"profile": "nothing"}, "body.profile"),
        ):
            refused = self.ask("PATCH", path, body)
            self.assertEqual((refused.status, refused.code, refused.json["field"]), (400, "bad_argument", field))
        self.assertEqual(self.ask("PATCH", "/devices/nobody/settings", {}).code, "unknown_device")

    def test_commands_that_are_not_offered(self) -> None:
        """One answer for all that read them, and an admin's word, which is recorded."""
        self.world.world.register(moduletype="HGM6110N")
        path, settings = f"/devices/{HOSTID}", f"/devices/{HOSTID}/settings"
        device = self.get(path).json
        names = [*("start", "stop", "test", "auto", "manual"), "generator_breaker_open", "generator_breaker_close"]
        self.assertEqual((device["commands"], list(device["withheld"])), ([], names))
        for name in ("mains_breaker_toggle", "stop"):
            refused = self.ask("POST", COMMANDS, {"kind": "named", "name": name}, "operator")
            self.assertEqual((refused.status, refused.code), (422, "unknown_command"))
        for role in ("viewer", "operator"):
            self.assertEqual(self.ask("PATCH", settings, {"profile": "hgm6110n"}, role).code, "forbidden")
        device = self.ask("PATCH", settings, {"profile": "hgm6110n"}).json
        self.assertEqual(([one["name"] for one in device["commands"]], device["withheld"]), (names, {}))
        device = self.ask("PATCH", settings, {"profile": "hgm6120n"}).json
        self.assertEqual(list(device["withheld"]), ["generator_breaker_toggle", "mains_breaker_toggle"])
        refused = self.ask("POST", COMMANDS, {"kind": "named", "name": "mains_breaker_toggle"}, "operator")
        self.assertEqual(refused.code, "unknown_command")
        self.clock.advance(1)
        told = [one["details"] for one in self.get(f"/events?hostid={HOSTID}").json["events"]]
        self.assertIn({"setting": "profile", "before": None, "after": "hgm6110n", "requester": "token admin"}, told)
        self.assertEqual(self.world.sent, [])

    def test_settings_are_bounded_as_in_the_fleet(self) -> None:
        for name, (lowest, highest) in _NUMBERS.items():
            for value, fits in ((lowest, True), (highest, True), (lowest - 1, False), (highest + 1, False)):
                whole = int(value)
                try:
                    check_setting(name, whole, CATALOG)
                    taken = True
                except BadSetting:
                    taken = False
                try:
                    msgspec.convert({name: whole}, devices.SettingsPatch)
                    said = True
                except msgspec.ValidationError:
                    said = False
                self.assertEqual((taken, said), (fits, fits), (name, whole))

    def test_disable_and_enable(self) -> None:
        self.assertFalse(self.ask("POST", f"/devices/{HOSTID}/disable").json["row"]["enabled"])
        self.assertEqual(self.listed(enabled="false"), [HOSTID])
        self.assertTrue(self.ask("POST", f"/devices/{HOSTID}/enable").json["row"]["enabled"])

    def test_etag(self) -> None:
        for path in ("/devices", f"/devices/{HOSTID}", LIVE, "/controllers", "/controllers/hgm6120n", "/alarms"):
            first = self.get(path)
            etag = first.headers["etag"]
            self.clock.advance(7)
            same = self.get(path, If_None_Match=f'"other", W/{etag}')
            self.assertEqual((same.status, same.body, same.headers["etag"]), (304, b"", etag), path)
            self.assertEqual(self.get(path, If_None_Match='"other"').status, 200)

    def test_store_is_away(self) -> None:
        self.patch(self.world.world.store, "write", lambda _: fail(StoreUnavailable("away")))
        answer = self.ask("PATCH", f"/devices/{HOSTID}/settings", {"data_mode": 1})
        self.assertEqual((answer.status, answer.code, answer.headers["retry-after"]), (503, "unavailable", "1"))


class LiveTests(WebTestCase):
    def test_points(self) -> None:
        self.world.world.connect()
        live = self.get(LIVE).json
        self.assertEqual((live["hostid"], live["online"], live["raw"]), (HOSTID, True, None))
        self.assertEqual({one["quality"] for one in live["points"]}, {"unknown"})
        self.assertEqual(self.get(LIVE + "?raw=true").json["raw"], [])
        self.assertEqual(self.get("/devices/nobody/live").code, "unknown_device")
        self.assertEqual(self.get("/devices/nobody/monitor").code, "unknown_device")
        monitor = self.get(f"/devices/{HOSTID}/monitor").json
        self.assertEqual((monitor["hostid"], monitor["ymid"], monitor["status"]), (HOSTID, 1, 1))

    def test_what_speaks_against_sending(self) -> None:
        registry = self.world.fleet.registry
        now(registry.enrol("AWAY", hostname="Away"))
        self.assertEqual(self.get("/devices/AWAY/live").json["blocked"]["code"], "device_offline")
        self.assertIsNone(self.get(LIVE).json["blocked"])
        now(registry.set(HOSTID, "admin", enabled=False))
        self.assertEqual(self.get(LIVE).json["blocked"], {"code": "device_disabled", "detail": f"{HOSTID} is disabled"})


class CommandTests(WebTestCase):
    def post(self, body: object = None, query: str = "", **headers: str) -> Answered:
        body = body or {"kind": "named", "name": "auto"}
        role: Role = "engineer" if '"modbus"' in json.dumps(body) else "operator"
        return self.ask("POST", COMMANDS + query, body, role, **headers)

    def test_named(self) -> None:
        answer = self.post()
        self.assertEqual((answer.status, answer.headers["location"]), (202, "/api/v1/commands/1"))
        self.assertEqual(
            (answer.json["name"], answer.json["requester"], answer.json["door"], answer.json["outcome"]),
            ("auto", "token operator", "http", None),
        )
        self.world.sent[0].obeyed()
        self.assertEqual(self.get("/commands/1").json["outcome"], "done")
        (listed,) = self.get("/commands").json["commands"]
        self.assertEqual((listed["number"], listed["outcome"]), (1, "done"))

    def test_of_each_kind(self) -> None:
        for body in (
            {"kind": "modbus", "frames": "00050003FF00"},
            {"kind": "port", "port": 2, "baud": 0},
            {"kind": "reset"},
            {"kind": "named", "name": "auto", "timeout": 5},
        ):
            self.assertEqual(self.post(body).status, 202, body)
            self.world.sent[-1].obeyed()
        self.assertEqual(self.world.sent[-1].timeout_s, 5)

    def test_waits_for_the_outcome(self) -> None:
        body = {"kind": "named", "name": "auto"}
        client = self.world.begin("POST", f"/api/v1{COMMANDS}?wait=60", token=self.tokens["operator"], body=body)
        self.assertIsNone(self.world.settle(client))
        waiting = self.world.begin("GET", "/api/v1/commands/1?wait=60", token=self.tokens["viewer"])
        self.assertIsNone(self.world.settle(waiting))
        self.world.sent[0].obeyed()
        for one, status in ((client, 200), (waiting, 200)):
            answer = self.world.settle(one)
            assert answer is not None
            self.assertEqual((answer.status, answer.json["outcome"]), (status, "done"))

    def test_waits_no_longer_than_it_was_told(self) -> None:
        client = self.world.begin(
            "POST", f"/api/v1{COMMANDS}?wait=2.5", token=self.tokens["operator"], body={"kind": "reset"}
        )
        self.assertIsNone(self.world.settle(client))
        self.clock.advance(2.5)
        answer = self.world.settle(client)
        assert answer is not None
        self.assertEqual((answer.status, answer.json["outcome"]), (202, None))

    def test_who_waits_may_go(self) -> None:
        client = self.world.begin(
            "POST", f"/api/v1{COMMANDS}?wait=60", token=self.tokens["operator"], body={"kind": "reset"}
        )
        self.world.settle(client)
        client.transport.loseConnection()
        self.world.sent[0].obeyed()
        self.assertEqual(self.get("/commands/1").json["outcome"], "done")

    def test_refusals(self) -> None:
        for body, status, code in (
            ({"kind": "named", "name": "explode"}, 422, "unknown_command"),
            ({"kind": "modbus", "frames": "01030000002D85D7"}, 422, "bad_frame"),
            ({"kind": "port", "port": 9, "baud": 0}, 400, "bad_argument"),
            ({"kind": "reset", "timeout": 0.5}, 400, "bad_argument"),
            ({"kind": "nothing"}, 400, "bad_argument"),
            ({"name": "auto"}, 400, "bad_argument"),
        ):
            answer = self.post(body)
            self.assertEqual((answer.status, answer.code), (status, code), body)
        self.world.fleet.presence.detach(HOSTID, self.world.session)
        answer = self.post()
        self.assertEqual((answer.status, answer.code), (409, "device_offline"))
        unknown = self.ask("POST", "/devices/nobody/commands", {"kind": "reset"}, "operator")
        self.assertEqual((unknown.status, unknown.code), (404, "unknown_device"))
        self.assertEqual(self.world.sent, [])

    def test_the_same_key_is_the_same_command(self) -> None:
        first = self.post(Idempotency_Key="one")
        again = self.post(Idempotency_Key="one")
        self.assertEqual((again.status, again.json["number"], again.headers["idempotent-replayed"]), (202, 1, "true"))
        self.assertNotIn("idempotent-replayed", first.headers)
        self.assertEqual(len(self.world.sent), 1)
        self.world.sent[0].obeyed()
        ended = self.post(Idempotency_Key="one")
        self.assertEqual((ended.status, ended.json["outcome"]), (200, "done"))
        other = self.post({"kind": "reset"}, Idempotency_Key="one")
        self.assertEqual((other.status, other.code), (409, "key_used"))
        self.assertEqual(self.post(Idempotency_Key="two").json["number"], 2)
        theirs = self.ask("POST", COMMANDS, {"kind": "reset"}, "admin", Idempotency_Key="one")
        self.assertEqual(theirs.json["number"], 3)

    def test_a_key_whose_command_was_refused_is_free(self) -> None:
        self.world.fleet.presence.detach(HOSTID, self.world.session)
        self.assertEqual(self.post(Idempotency_Key="one").code, "device_offline")
        self.world.fleet.presence.attach(HOSTID, self.world.session)
        self.assertEqual(self.post(Idempotency_Key="one").status, 202)

    def test_odd_keys(self) -> None:
        for key in ("x" * 201, "\xff"):
            self.assertEqual(self.post(Idempotency_Key=key).json["field"], "header.Idempotency-Key")

    def test_cancel(self) -> None:
        self.post()
        self.post()
        answer = self.ask("DELETE", "/commands/2", role="operator")
        self.assertEqual((answer.status, answer.json["outcome"]), (200, "not sent"))
        late = self.ask("DELETE", "/commands/1", role="operator")
        self.assertEqual((late.status, late.code), (409, "too_late"))
        self.world.world.write_batch()
        self.assertEqual(self.ask("DELETE", "/commands/2", role="operator").json["outcome"], "not sent")
        self.assertEqual(self.ask("DELETE", "/commands/77", role="operator").code, "no_such_command")
        self.assertEqual(self.get("/commands/77").code, "no_such_command")


class LateTests(WebTestCase):
    def post(self, **body: object) -> Answered:
        return self.ask(
            "POST", COMMANDS, {"kind": "named", "name": "auto", **body}, "operator", **{"Idempotency-Key": "k"}
        )

    def test_what_comes_too_late_is_not_sent(self) -> None:
        due = int(self.clock.seconds() * 1000)
        late = self.post(not_after=due - 1)
        self.assertEqual((late.status, late.code, late.json["field"]), (409, "expired", "body.not_after"))
        self.assertEqual(self.world.session.sent, [])
        self.assertEqual(self.get("/commands?key=k").json["commands"], [])
        self.assertEqual(self.post(not_after=due).status, 202)

    def test_by_its_key(self) -> None:
        self.post()
        (found,) = self.ask("GET", "/commands?key=k", None, "operator").json["commands"]
        self.assertEqual(found["number"], 1)
        self.assertEqual(self.get("/commands?key=k").json["commands"], [])  # of another token
        at = found["accepted_at"]
        now(self.world.fleet.registry.enrol("other"))
        for query, fits in (
            (f"hostid={HOSTID}", True),
            ("hostid=other", False),
            (f"since={at}&until={at + 1}&limit=1&order=asc", True),
            (f"since={at + 1}", False),
            (f"until={at}", False),
        ):
            listed = self.ask("GET", f"/commands?key=k&{query}", None, "operator").json["commands"]
            self.assertEqual(listed, [found] if fits else [], query)
        for query, code in (("hostid=ZZZ", "unknown_device"), ("after=1.1", "bad_argument")):
            self.assertEqual(self.ask("GET", f"/commands?key=k&{query}", None, "operator").code, code)
        self.assertEqual(self.ask("GET", "/commands?key=other", None, "operator").json["commands"], [])


class KeysTests(WebTestCase):
    def test_asked_at_the_same_time(self) -> None:
        keys, sent = Keys(self.clock), Deferred[int]()
        times: list[int] = []

        async def submit() -> int:
            times.append(1)
            return await sent

        both = [Deferred.fromCoroutine(keys.once("me", "key", b"what", submit)) for _ in range(2)]
        sent.callback(7)
        self.assertEqual([self.successResultOf(one) for one in both], [(7, False), (7, True)])
        self.assertEqual(times, [1])

    def test_forgotten_after_a_while(self) -> None:
        keys = Keys(self.clock)
        numbers = iter(range(1, 5))

        async def submit() -> int:
            return next(numbers)

        self.assertEqual(now(keys.once("me", "key", b"what", submit)), (1, False))
        self.clock.advance(KEPT_S)
        self.assertEqual(now(keys.once("me", "key", b"what", submit)), (1, True))
        self.clock.advance(1)
        self.assertEqual(now(keys.once("me", "key", b"what", submit)), (2, False))

    def test_too_many(self) -> None:
        self.patch(keys_module, "MOST_KEYS", 1)
        keys = Keys(self.clock)

        async def submit() -> int:
            return 1

        now(keys.once("me", "one", b"", submit))
        self.assertRaises(Refused, now, keys.once("me", "two", b"", submit))

    def test_too_many_of_one(self) -> None:
        self.patch(keys_module, "MOST_OF_ONE", 1)
        keys = Keys(self.clock)

        async def submit() -> int:
            return 1

        now(keys.once("me", "one", b"", submit))
        self.assertRaises(Refused, now, keys.once("me", "two", b"", submit))
        self.assertEqual(now(keys.once("you", "two", b"", submit)), (1, False))


class RecordTests(WebTestCase):
    def test_status(self) -> None:
        self.assertEqual(self.get("/status").json["devices"], 1)

    def test_alarms(self) -> None:
        alarms = self.world.fleet.alarms
        alarms.controller_silent(HOSTID)
        self.clock.advance(1)
        now(self.world.fleet.registry.enrol("other"))
        alarms.controller_silent("other")
        listed = self.get("/alarms").json["alarms"]
        self.assertEqual([one["number"] for one in listed], [2, 1])
        page = self.get("/alarms?limit=1&order=asc").json
        self.assertEqual([one["number"] for one in page["alarms"]], [1])
        page = self.get(f"/alarms?limit=1&order=asc&after={page['next']}").json
        self.assertEqual(([one["number"] for one in page["alarms"]], page["next"]), ([2], None))
        self.assertEqual([one["number"] for one in self.get("/alarms?hostid=other").json["alarms"]], [2])
        raised = listed[1]["raised_at"]
        self.assertEqual(len(self.get(f"/alarms?since={raised}&until={raised + 1}").json["alarms"]), 1)
        seen = self.ask("POST", "/alarms/1/acknowledge", role="operator")
        self.assertEqual((seen.status, seen.json["acknowledged_by"]), (200, "token operator"))
        self.assertEqual(self.ask("POST", "/alarms/9/acknowledge", role="operator").code, "no_such_alarm")
        alarms.controller_answers(HOSTID)
        self.world.world.write_batch()
        self.assertEqual(len(self.get("/alarms").json["alarms"]), 1)
        self.assertEqual(len(self.get("/alarms?open=false").json["alarms"]), 2)
        self.assertEqual(self.get("/alarms?hostid=nobody").code, "unknown_device")

    def numbers(self, query: str) -> list[int]:
        return [one["number"] for one in self.get(f"/alarms?{query}").json["alarms"]]

    def raised(self, *severities: AlarmSeverity) -> None:
        """Have a device for each alarm, a second after another, numbered from 1."""
        alarms = self.world.fleet.alarms
        for place, severity in enumerate(severities, 1):
            self.clock.advance(1)
            now(self.world.fleet.registry.enrol(f"host{place}", hostname=f"Mühle {place}"))
            alarms._raise(f"host{place}", Signal(name=f"s_{severity}", title="High", address=0, severity=severity))

    def test_alarms_by_urgency(self) -> None:
        self.raised("shutdown", "warning", "alarm", "shutdown", "shutdown", "warning")
        for number in (5, 6):
            self.ask("POST", f"/alarms/{number}/acknowledge", role="operator")
        urgent = [4, 1, 3, 2, 5, 6]
        self.assertEqual(self.numbers("sort=urgency"), urgent)
        self.assertEqual(self.numbers("sort=urgency&order=asc"), urgent[::-1])
        self.assertEqual(self.numbers("severity=shutdown"), [5, 4, 1])
        self.assertEqual(self.numbers("severity=shutdown&acknowledged=false&sort=urgency"), [4, 1])
        self.assertEqual(self.numbers("acknowledged=true"), [6, 5])
        self.assertEqual(self.numbers("q=MÜHLE+s_al".replace("Ü", "%C3%9C")), [3])
        self.assertEqual(self.numbers("q=zzz"), [])
        for order, wanted in (("desc", urgent), ("asc", urgent[::-1])):
            found: list[int] = []
            after = ""
            while True:
                page = self.get(f"/alarms?sort=urgency&order={order}&limit=2{after}").json
                self.assertEqual(page["total"], 6)
                found += [one["number"] for one in page["alarms"]]
                if page["next"] is None:
                    break
                after = f"&after={page['next']}"
            self.assertEqual(found, wanted)
        self.assertEqual(self.get("/alarms?severity=warning&limit=1").json["total"], 2)
        for wrong in ("sort=urgency&after=1.1", "after=1-2-1.1", "sort=urgency&open=false", "severity=status"):
            self.assertEqual(self.get(f"/alarms?{wrong}").code, "bad_argument", wrong)

    def test_a_great_many_open_alarms(self) -> None:
        """The worst one is there, whoever came after it."""
        self.raised("shutdown", *WARNING * 60)
        self.patch(records, "A_PIECE", 7)
        page = self.get("/alarms?sort=urgency&limit=2").json
        self.assertEqual(([one["number"] for one in page["alarms"]], page["total"]), ([1, 61], 61))
        self.assertEqual(self.numbers("limit=3"), [61, 60, 59])
        self.assertEqual(self.numbers("limit=3&order=asc"), [1, 2, 3])

    def test_alarms_sought_among_all(self) -> None:
        """A bounded number of pages is looked through at once, and then it goes on."""
        self.raised("shutdown", "shutdown", *WARNING * 30)
        self.world.world.write_batch()
        self.patch(operations, "MOST_A_PAGE", 3)
        self.patch(operations, "PAGES_SEARCHED", 2)
        found, pages, after = [], 0, ""
        while True:
            page = self.get(f"/alarms?open=false&severity=shutdown{after}").json
            self.assertIsNone(page["total"])
            found += [one["number"] for one in page["alarms"]]
            pages += 1
            if page["next"] is None:
                break
            after = f"&after={page['next']}"
        self.assertEqual((found, pages), ([2, 1], 6))
        page = self.get("/alarms?open=false&acknowledged=false&limit=4").json
        self.assertEqual([one["number"] for one in page["alarms"]], [32, 31, 30, 29])
        page = self.get(f"/alarms?open=false&acknowledged=false&limit=4&after={page['next']}").json
        self.assertEqual([one["number"] for one in page["alarms"]], [28, 27, 26, 25])
        self.assertEqual(self.get("/alarms?open=false&q=a&hostid=nobody").code, "unknown_device")

    def test_events(self) -> None:
        self.world.world.write_batch()
        newest = self.get("/events").json
        self.assertEqual([one["kind"] for one in newest["events"]], ["online", "device_registered"])
        first = self.get("/events?order=asc&limit=1").json
        self.assertEqual([one["kind"] for one in first["events"]], ["device_registered"])
        rest = self.get(f"/events?order=asc&after={first['next']}").json
        self.assertEqual([one["kind"] for one in rest["events"]], ["online"])
        self.assertEqual(self.get("/events?after=x").status, 400)

    def test_controllers(self) -> None:
        listed = {one["name"]: one for one in self.get("/controllers").json}
        self.assertEqual(listed["hgm6120n"]["devices"], 1)
        controller = self.get("/controllers/hgm6120n").json
        self.assertEqual(len(controller["points"]), listed["hgm6120n"]["points"])
        words = next(one["words"] for one in controller["points"] if one["name"] == "engine_state")
        self.assertEqual(words["9"], "normal running")
        self.assertEqual(self.get("/controllers/none").code, "no_such_controller")


class PollTests(WebTestCase):
    """Who asks again and again for what has not changed is told so."""

    def test_what_has_not_changed(self) -> None:
        self.ask("POST", COMMANDS, {"kind": "reset"}, "operator")
        self.world.world.write_batch()
        for path in ("/commands/1", "/commands", "/events", "/alarms", "/devices", f"/devices/{HOSTID}"):
            answer = self.get(path)
            self.clock.advance(1)
            again = self.get(path, If_None_Match=answer.headers["etag"])
            self.assertEqual((answer.status, again.status, again.body), (200, 304, b""), path)
            self.assertEqual(again.headers["etag"], answer.headers["etag"])
        before = self.get("/commands/1").headers["etag"]
        self.world.sent[0].obeyed()
        changed = self.get("/commands/1", If_None_Match=before)
        self.assertEqual((changed.status, changed.json["outcome"]), (200, "done"))

    def test_one_that_waits(self) -> None:
        """The answer comes when the outcome is known, and is another one."""
        self.ask("POST", COMMANDS, {"kind": "reset"}, "operator")
        before = self.get("/commands/1").headers["etag"]
        client = self.world.begin(
            "GET", "/api/v1/commands/1?wait=20", token=self.tokens["viewer"], If_None_Match=before
        )
        self.assertIsNone(self.world.settle(client))
        self.world.sent[0].obeyed()
        answer = self.world.settle(client)
        assert answer is not None
        self.assertEqual((answer.status, answer.json["outcome"]), (200, "done"))


class RequestTests(WebTestCase):
    """What is wrong with a request is told with its place."""

    def assert_wrong(self, answer: Answered, status: int, code: str, field: str | None = None) -> None:
        self.assertEqual((answer.status, answer.code, answer.json.get("field")), (status, code, field))

    def test_queries(self) -> None:
        for query, field in (
            ("limit=0", "query.limit"),
            ("limit=1001", "query.limit"),
            ("limit=1e3", "query.limit"),
            ("limit=%EF%BC%91", "query.limit"),
            ("limit=", "query.limit"),
            ("limit=1&limit=2", "query.limit"),
            ("online=yes", "query.online"),
            ("online=1", "query.online"),
            ("state=broken", "query.state"),
            ("colour=red", "query.colour"),
            ("q=%FF", "query"),
            ("&".join(f"a{number}=" for number in range(60)), "query"),
            ("q=" + "x" * 101, "query.q"),
        ):
            self.assert_wrong(self.get(f"/devices?{query}"), 400, "bad_argument", field)
        self.assert_wrong(self.get(f"/devices/{HOSTID}/readings/buckets"), 400, "bad_argument", "query.points")

    def test_every_code_that_is_about_something_in_the_request(self) -> None:
        device, to_device = f"/devices/{HOSTID}", f"/devices/{HOSTID}/commands"
        self.ask("POST", to_device, {"kind": "reset"}, Idempotency_Key="k")
        told = set[str]()
        for method, path, body, code, field in (
            ("GET", f"{device}/readings?after=x", None, "bad_argument", "query.after"),
            ("GET", "/devices?after=x", None, "bad_argument", "query.after"),
            ("GET", "/alarms?after=x", None, "bad_argument", "query.after"),
            ("GET", "/alarms?sort=urgency&after=1.1", None, "bad_argument", "query.after"),
            ("GET", "/alarms?open=false&after=x", None, "bad_argument", "query.after"),
            ("GET", "/alarms?open=false&severity=alarm&after=x", None, "bad_argument", "query.after"),
            ("GET", "/events?after=x", None, "bad_argument", "query.after"),
            ("GET", "/commands?after=x", None, "bad_argument", "query.after"),
            ("PATCH", f"{device}/settings", {"profile": "none"}, "bad_argument", "body.profile"),
            ("GET", "/devices/none/live", None, "unknown_device", "path.hostid"),
            ("POST", "/devices/none/commands", {"kind": "reset"}, "unknown_device", "path.hostid"),
            ("GET", "/commands?hostid=none", None, "unknown_device", "query.hostid"),
            ("GET", "/alarms?hostid=none", None, "unknown_device", "query.hostid"),
            ("GET", f"{device}/readings?points=none", None, "no_such_point", "query.points"),
            ("GET", f"{device}/readings/buckets?points=none", None, "no_such_point", "query.points"),
            ("POST", "/devices", {"hostid": HOSTID}, "already_enrolled", "body.hostid"),
            ("GET", "/commands/x", None, "not_found", "path.number"),
            ("GET", "/commands/99", None, "no_such_command", "path.number"),
            ("DELETE", "/commands/99", None, "no_such_command", "path.number"),
            ("POST", "/alarms/99/acknowledge", None, "no_such_alarm", "path.number"),
            ("GET", "/controllers/none", None, "no_such_controller", "path.name"),
            ("PUT", f"{device}/lock", {"reason": " "}, "bad_argument", "body.reason"),
            ("PUT", "/devices/none/lock", {"reason": "oil"}, "unknown_device", "path.hostid"),
            ("DELETE", "/devices/none/lock", None, "unknown_device", "path.hostid"),
            ("DELETE", f"{device}/inputs/none", None, "bad_argument", "path.input"),
            ("DELETE", "/devices/none/inputs/fire_alarm", None, "unknown_device", "path.hostid"),
            ("POST", to_device, {"kind": "named", "name": "none"}, "unknown_command", "body.name"),
            ("POST", to_device, {"kind": "modbus", "frames": "00"}, "bad_frame", "body.frames"),
            ("POST", to_device, {"kind": "modbus", "frames": "11050003FF00"}, "out_of_range", "body.frames"),
            ("POST", to_device, {"kind": "port", "port": 1, "baud": 0}, "bad_port", "body.port"),
            ("POST", to_device, {"kind": "reset", "not_after": 1}, "expired", "body.not_after"),
            ("POST", to_device, {"kind": "reset", "timeout": 9}, "key_used", "header.Idempotency-Key"),
        ):
            if code == "bad_port":  # the body's own limits come before it
                acceptance = self.world.operations.dispatch._acceptance
                self.patch(acceptance, "port", Mock(side_effect=errors.BadPort("another")))
            key = {"Idempotency_Key": "k"} if code == "key_used" else {}
            self.assert_wrong(self.ask(method, path, body, "admin", **key), STATUS[code], code, field)
            told.add(code)
        self.assertEqual(set(STATUS) - told, ABOUT_NO_FIELD)
        self.assertLessEqual(set(ABOUT), told)

    def test_bodies(self) -> None:
        for body, field in (
            (b"", "body"),
            (b"{", "body"),
            (b"[]", "body"),
            (b'"\xff"', "body"),
            (b"[" * 10_000, "body"),
            (b"{}", "body.hostid"),
            (b'{"hostid": 1}', "body.hostid"),
            (b'{"hostid": "a b"}', "body.hostid"),
            (b'{"hostid": "a", "x": 1}', "body.x"),
        ):
            self.assert_wrong(self.ask("POST", "/devices", body), 400, "bad_argument", field)

    def test_media_types(self) -> None:
        for headers in (
            {"Content_Type": "text/plain"},
            {"Content_Type": ""},
            {"Content_Type": "application/json; charset=latin-1"},
            {"Content_Type": "application/merge-patch+json"},
            {"Content_Encoding": "gzip"},
        ):
            self.assert_wrong(self.ask("POST", "/devices", {}, "admin", **headers), 415, "unsupported_media_type")
        good = self.ask("POST", "/devices", {"hostid": "a"}, Content_Type='application/JSON; charset="UTF-8"')
        self.assertEqual(good.status, 201)

    def test_what_takes_no_body(self) -> None:
        self.assert_wrong(self.ask("POST", f"/devices/{HOSTID}/disable", {}), 400, "bad_argument", "body")

    def test_accept(self) -> None:
        for accept in ("text/html", "application/json;q=0", "nonsense", "application/*;q=x", "text/event-stream"):
            self.assert_wrong(self.get("/status", Accept=accept), 406, "not_acceptable")
        for accept in ("*/*", "application/*", "text/html, application/json;q=0.1", "", "APPLICATION/JSON"):
            self.assertEqual(self.get("/status", Accept=accept).status, 200, accept)

    def test_addresses(self) -> None:
        for path in ("/", "", "/nothing", "/status/more", "/devices/a/b/c/d/e/f/g/h/i/j", "/%FF"):
            answer = self.get(path)
            self.assert_wrong(answer, 404, "not_found")
        self.assert_wrong(self.get("/commands/x"), 404, "not_found", "path.number")
        self.assert_wrong(self.get("/commands/0"), 404, "not_found", "path.number")
        self.assert_wrong(self.get("/devices/%FF"), 404, "not_found", "path.hostid")
        self.assert_wrong(self.get("/devices/" + quote("a b")), 404, "not_found", "path.hostid")
        self.assert_wrong(self.world.ask("GET", "/api/v2"), 404, "not_found")
        self.assert_wrong(self.world.ask("GET", "/api"), 404, "not_found")
        self.assert_wrong(self.world.ask("GET", "/static/../etc/passwd"), 404, "not_found")

    def test_methods(self) -> None:
        for method in ("PUT", "BREW", "PATCH"):
            answer = self.ask(method, "/devices")
            self.assert_wrong(answer, 405, "method_not_allowed")
            self.assertEqual(answer.headers["allow"], "GET, HEAD, OPTIONS, POST")

    def test_options(self) -> None:
        answer = self.world.ask("OPTIONS", "/api/v1/session")
        self.assertEqual((answer.status, answer.headers["allow"]), (204, "DELETE, GET, HEAD, OPTIONS, POST"))

    def test_head(self) -> None:
        for path in ("/status", "/fleet", "/devices"):
            answer = self.world.ask("HEAD", f"/api/v1{path}", token=self.tokens["viewer"])
            self.assertEqual((answer.status, answer.body), (200, b""))
        self.assertIn("etag", answer.headers)

    def test_our_bugs(self) -> None:
        self.patch(self.world.operations, "status", lambda: 1 // 0)
        answer = self.get("/status")
        self.assert_wrong(answer, 500, "internal_error")
        self.assertNotIn(b"division", answer.body)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    @given(st.data())
    def test_nothing_that_is_sent_is_our_bug(self, data: st.DataObject) -> None:
        operation = data.draw(st.sampled_from(OPERATIONS))
        names = st.sampled_from([*operation.query.__struct_fields__, "x"])
        values = st.text(max_size=20) | st.integers().map(str) | st.sampled_from(["true", "null", "1.5", "", "json"])
        query = urlencode(data.draw(st.dictionaries(names, values, max_size=4)))
        scalars = st.none() | st.booleans() | st.integers() | st.text(max_size=10)
        keys = st.sampled_from(["kind", "name", "frames", "hostid", "token", "port", "baud", "timeout", "enabled"])
        kinds = st.sampled_from(["named", "modbus", "port", "reset"])
        bodies = (
            st.none()
            | st.binary(max_size=30)
            | st.dictionaries(keys, scalars | kinds, max_size=4)
            | st.lists(scalars, max_size=2)
        )
        body: Any = data.draw(bodies)
        client = self.world.begin(
            operation.method,
            f"{address(operation)}?{query}",
            token=self.tokens["admin"],
            body=body if isinstance(body, bytes | dict | list) else None,
        )
        answer = self.world.settle(client)
        if answer is None:  # it waits, or the token in it is a wrong one
            self.clock.advance(61)
            answer = self.world.settle(client)
        assert answer is not None, (operation.name, query, body)
        self.assertLess(answer.status, 500, answer.body)


class HealthTests(WebTestCase):
    def test_health(self) -> None:
        self.world.world.write_batch()
        answer = self.world.ask("GET", "/healthz")
        self.assertEqual((answer.status, answer.json), (200, {"status": "ok", "store": "up", "backlog": 0}))
        self.patch(self.world.fleet, "_store_health", Mock(return_value=Mock(up=False, backlog=7)))
        answer = self.world.ask("GET", "/healthz")
        self.assertEqual((answer.status, answer.json["store"], answer.json["backlog"]), (200, "down", 7))
        self.assertEqual(self.world.ask("DELETE", "/healthz").code, "method_not_allowed")


class BrokenTests(WebTestCase):
    """A resource with a bug is answered as the API is."""

    def test_before_anything_is_written(self) -> None:
        self.patch(self.world.fleet, "store_health", lambda: 1 // 0)
        answer = self.world.ask("GET", "/healthz")
        self.assertEqual((answer.status, answer.code), (500, "internal_error"))
        self.assertEqual(answer.headers["x-content-type-options"], "nosniff")
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_in_the_middle(self) -> None:
        def render(request: Any) -> bytes:
            request.write(b"some")
            raise ZeroDivisionError

        leaf = Empty()
        self.patch(leaf, "render", render)
        self.world.web.site.resource.putChild(b"leaf", leaf)
        client = self.world.begin("GET", "/leaf")
        self.assertTrue(client.transport.lost)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)


class GuardedTests(WebTestCase):
    """What others put beside the API is for those who may read."""

    def setUp(self) -> None:
        super().setUp()
        metrics, devices_of = (Data(text, "text/plain") for text in (b"metrics", b"devices"))
        self.world.web.site.resource = site(
            Empty(),
            api=Mock(),
            access=self.world.web.access,
            fleet=self.world.fleet,
            metrics=metrics,
            device_metrics=devices_of,
        )

    def test_with_a_token(self) -> None:
        for path, body in (("/metrics", b"metrics"), ("/metrics/devices", b"devices")):
            answer = self.world.ask("GET", path, token=self.tokens["viewer"])
            self.assertEqual((answer.status, answer.body), (200, body))
            self.assertEqual(self.world.ask("GET", path).code, "unauthorized")
        self.assertEqual(self.world.ask("GET", "/metrics/more", token=self.tokens["viewer"]).code, "not_found")

    def test_other_methods(self) -> None:
        for path in ("/metrics", "/metrics/devices"):
            for method in ("OPTIONS", "PUT", "DELETE", "POST", "BREW"):
                answer = self.world.ask(method, path, token=self.tokens["viewer"])
                self.assertEqual((answer.code, answer.headers["allow"]), ("method_not_allowed", "GET, HEAD"))
                self.assertEqual(self.world.ask(method, path).code, "unauthorized")

    def test_wrong_tokens_wait(self) -> None:
        client = self.world.begin("GET", "/metrics", token="wrong")
        self.assertIsNone(client.answer())
        self.assertEqual(self.world.ask("GET", "/metrics", token="wrong").code, "too_many_requests")
        self.clock.advance(2)
        answer = client.answer()
        assert answer is not None
        self.assertEqual(answer.code, "unauthorized")
