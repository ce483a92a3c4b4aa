"""What people beside the machine rely on, over HTTP: the lock, inputs that are cleared or overridden, and stop."""

from typing import get_args

from cmmd.fleet.commands import requests
from cmmd.fleet.commands.interlocks import OVERRIDABLE
from cmmd.fleet.devices.inputs import FRESH_S
from cmmd.fleet.roles import Role
from cmmd.web.api import context as keys_module
from tests.web_world import Answered, WebTestCase
from tests.world import HOSTID

DEVICE = f"/devices/{HOSTID}"
START = {"kind": "named", "name": "start"}
STOP = {"kind": "named", "name": "stop"}
EACH = (
    START,
    {"kind": "modbus", "frames": "00050003FF00"},
    {"kind": "port", "port": 2, "baud": 0},
    {"kind": "reset"},
)
"""A command of each kind."""


class PeopleTestCase(WebTestCase):
    """Asks as an operator, unless it says otherwise."""

    def post(self, body: object = None, role: Role = "engineer", **headers: str) -> Answered:
        return self.ask("POST", f"{DEVICE}/commands", body or START, role, **headers)

    def lock(self, reason: str = "oil change", role: Role = "operator") -> Answered:
        return self.ask("PUT", f"{DEVICE}/lock", {"reason": reason}, role)

    def unlock(self, role: Role = "operator") -> Answered:
        return self.ask("DELETE", f"{DEVICE}/lock", role=role)

    def events(self, kind: str) -> list[dict[str, object]]:
        return [dict(one.details) for one in self.world.world.events if one.kind == kind]


class LockTests(PeopleTestCase):
    def test_every_command_but_stop_and_reset(self) -> None:
        locked = self.lock()
        self.assertEqual(locked.status, 200)
        lock = {"by": "token operator", "at": int(self.clock.seconds() * 1000), "reason": "oil change"}
        self.assertEqual({**locked.json["row"]["lock"], "at": lock["at"]}, lock)
        for body in EACH[:-1]:
            answer = self.post(body, "admin")
            self.assertEqual((answer.status, answer.code), (409, "locked"))
            self.assertRegex(answer.json["detail"], "locked by token operator since .*: oil change")
        self.assertEqual(self.post(EACH[-1]).status, 202)
        self.world.sent[-1].obeyed()
        self.assertEqual(self.post(STOP).status, 202)
        self.assertEqual(self.unlock().json["row"]["lock"], None)
        self.world.sent[-1].obeyed()
        self.assertEqual(self.post().status, 202)
        self.assertEqual([one["by"] for one in self.events("device_locked")], ["token operator"])
        self.assertEqual([one["locked_by"] for one in self.events("device_unlocked")], ["token operator"])

    def test_settings_that_would_act_at_the_next_login(self) -> None:
        self.lock()
        for changes in ({"set_port": 0}, {"set_baud": 2}, {"profile": "hgm4000n"}):
            answer = self.ask("PATCH", f"{DEVICE}/settings", changes, "admin")
            self.assertEqual((answer.status, answer.code), (409, "locked"))
            self.assertRegex(answer.json["detail"], "locked by token operator since .*: oil change")
        self.assertEqual(self.ask("PATCH", f"{DEVICE}/settings", {"history_interval": 30}, "admin").status, 200)

    def test_in_every_answer_about_the_device(self) -> None:
        self.lock("belt")
        device, live = self.get(DEVICE).json["row"], self.get(f"{DEVICE}/live").json
        (listed,) = self.get("/devices").json["devices"]
        self.assertEqual([one["lock"]["reason"] for one in (device, live)], ["belt"] * 2)
        self.assertEqual((listed["locked_by"], listed["lock_reason"]), ("token operator", "belt"))
        self.assertEqual((live["blocked"]["code"], live["stop_blocked"]), ("locked", None))

    def test_of_another_caller(self) -> None:
        self.lock(role="admin")
        self.assertEqual((self.lock().status, self.lock().code), (409, "locked"))
        refused = self.unlock()
        self.assertEqual((refused.status, refused.code), (403, "admin_only"))
        self.assertEqual(self.post().code, "locked")
        self.assertEqual(self.unlock("admin").status, 200)
        self.assertEqual(self.lock().status, 200)
        self.assertEqual(self.unlock("admin").status, 200, "an administrator unlocks what others have locked")
        self.assertEqual(self.unlock().status, 200, "where there is no lock nothing happens")

    def test_another_reason(self) -> None:
        self.lock("oil")
        self.assertEqual(self.lock("oil and belt").json["row"]["lock"]["reason"], "oil and belt")

    def test_reasons(self) -> None:
        for body in ({}, {"reason": ""}, {"reason": " "}, {"reason": "x" * 201}, {"reason": 1}):
            answer = self.ask("PUT", f"{DEVICE}/lock", body, "operator")
            self.assertEqual((answer.status, answer.json["field"]), (400, "body.reason"), body)
        self.assertIsNone(self.get(DEVICE).json["row"]["lock"])


class InputTests(PeopleTestCase):
    def clear(self, name: str = "remote_inhibited", role: Role = "admin") -> Answered:
        return self.ask("DELETE", f"{DEVICE}/inputs/{name}", role=role)

    def test_what_was_last_said(self) -> None:
        said_at = int(self.clock.seconds() * 1000)
        self.world.inhibit(address="198.51.100.9")
        self.clock.advance(FRESH_S + 1)
        live = self.get(f"{DEVICE}/live").json
        report = live["input_reports"]["remote_inhibited"]
        self.assertEqual((report["active"], report["said_at"], report["stale"]), (True, said_at, True))
        self.assertEqual(report["address"], "198.51.100.9")
        self.assertEqual((live["blocked"]["code"], live["stop_blocked"]), ("remote_inhibited", None))
        self.assertRegex(live["blocked"]["detail"], "last said .* by 198.51.100.9")

    def test_cleared(self) -> None:
        self.world.inhibit()
        self.assertEqual(self.post().code, "remote_inhibited")
        self.assertEqual(self.clear(role="operator").code, "forbidden")
        self.assertEqual(self.clear().status, 200)
        self.assertEqual(self.get(f"{DEVICE}/live").json["input_reports"], {})
        self.assertEqual(self.post().status, 202)
        (cleared,) = self.events("input_cleared")
        self.assertEqual((cleared["by"], cleared["address"]), ("token admin", "198.51.100.9"))

    def test_overridden_for_one_command(self) -> None:
        self.world.inhibit()
        for body in EACH:
            overriding = {**body, "override": "remote_inhibited"}
            refused = self.post(overriding)
            self.assertEqual((refused.status, refused.code), (403, "admin_only"))
            accepted = self.post(overriding, "admin")
            self.assertEqual((accepted.status, accepted.json["overridden"]), (202, "remote_inhibited"))
            self.assertEqual(accepted.json["address"], "192.0.2.7")
            self.world.sent[-1].obeyed()
            self.assertEqual(self.post(body, "admin").code, "remote_inhibited")
        self.assertEqual(len(self.world.sent), len(EACH))
        listed = self.get("/commands").json["commands"]
        self.assertEqual({(one["overridden"], one["address"]) for one in listed}, {("remote_inhibited", "192.0.2.7")})

    def test_what_cannot_be_overridden(self) -> None:
        self.lock()
        answer = self.post({**START, "override": "locked"}, "admin")
        self.assertEqual((answer.status, answer.json["field"]), (400, "body.override"))
        self.assertEqual(self.post({**START, "override": "remote_inhibited"}, "admin").code, "locked")
        self.assertEqual(set(get_args(get_args(requests.Override)[0])), OVERRIDABLE)


class StopTests(PeopleTestCase):
    """Nothing that is about the caller refuses a stop."""

    def test_later_than_it_was_meant(self) -> None:
        late = int(self.clock.seconds() * 1000) - 60_000
        self.assertEqual(self.post({**START, "not_after": late}).code, "expired")
        self.assertEqual(self.post({**STOP, "not_after": late}).status, 202)

    def test_no_key_is_left(self) -> None:
        self.patch(keys_module, "MOST_OF_ONE", 1)
        self.post(Idempotency_Key="one")
        self.assertEqual(self.post(Idempotency_Key="two").code, "too_many_requests")
        self.world.sent[0].obeyed()
        stop = self.post(STOP, Idempotency_Key="two")
        self.assertEqual((stop.status, stop.json["name"]), (202, "stop"))
        self.assertNotIn("idempotent-replayed", stop.headers)
        self.assertEqual(len(self.world.sent), 2)

    def test_the_key_of_another_command(self) -> None:
        self.post(Idempotency_Key="one")
        self.world.sent[0].obeyed()
        self.assertEqual(self.post({"kind": "reset"}, Idempotency_Key="one").code, "key_used")
        self.assertEqual(self.post(STOP, Idempotency_Key="one").json["name"], "stop")

    def test_an_override_that_only_an_administrator_may_make(self) -> None:
        self.world.inhibit()
        stop = self.post({**STOP, "override": "remote_inhibited"})
        self.assertEqual((stop.status, stop.json["overridden"]), (202, None))

    def test_viewers_command_nothing(self) -> None:
        self.assertEqual(self.post(STOP, "viewer").code, "forbidden")
        self.assertEqual(self.lock(role="viewer").code, "forbidden")
        self.assertEqual(self.world.sent, [])
