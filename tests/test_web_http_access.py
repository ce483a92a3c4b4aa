"""Who comes in: tokens and roles, this machine alone without any, sessions of browsers, pages of strangers."""

from pathlib import Path
from typing import Any, cast

from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, succeed
from twisted.logger import ILogObserver, LogEvent, formatEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import provider

from cmmd.fleet.devices.password_check import FORGET_AFTER_S
from cmmd.fleet.service.sign_in_links import LINK_S, SignInLinks
from cmmd.fleet.service.tokens import read_uses
from cmmd.web.api.operation import Operation
from cmmd.web.api.table import OPERATIONS, PREFIX
from cmmd.web.http.browser_sessions import IDLE_S, LONGEST_S, MOST_OF_TOKEN, MOST_SESSIONS, BrowserSessions, Cookies
from cmmd.web.service import WebDoor
from tests.web_world import HOST, Answered, Client, WebTestCase, WebWorld
from tests.world import HOSTID

PLACES = {"{hostid}": HOSTID, "{number}": "1", "{name}": "hgm6120n", "{input}": "remote_inhibited"}
LOCAL = "localhost:21380"


def address(operation: Operation) -> str:
    path = PREFIX + operation.path
    for name, value in PLACES.items():
        path = path.replace(name, value)
    return path


def writes(operation: Operation) -> bool:
    return operation.method != "GET"


class EveryOperationTests(WebTestCase):
    """What holds for each row of the table."""

    def call(self, operation: Operation, **named: Any) -> Answered:
        return self.world.ask(operation.method, address(operation), **named)

    def test_without_a_token(self) -> None:
        for one in OPERATIONS:
            if one.role is not None:
                answer = self.call(one)
                self.assertEqual((answer.status, answer.code), (401, "unauthorized"), one.name)
                self.assertIn("Bearer", answer.headers["www-authenticate"])

    def test_role(self) -> None:
        below = {"operator": "viewer", "engineer": "operator", "admin": "engineer"}
        for one in OPERATIONS:
            if one.role in below:
                answer = self.call(one, token=self.tokens[below[one.role]], body={})  # type: ignore[index]
                self.assertEqual((answer.status, answer.code), (403, "forbidden"), one.name)
        self.assertEqual(self.world.sent, [])

    def test_viewers_write_nothing(self) -> None:
        for one in OPERATIONS:
            if writes(one) and one.tag != "session":
                self.assertNotIn(one.role, (None, "viewer"), one.name)

    def test_foreign_origin(self) -> None:
        for one in OPERATIONS:
            for headers in (
                {"Origin": "https://elsewhere.example"},
                {"Origin": "null"},
                {"Origin": f"https://{HOST}.evil.example"},
                {"Sec_Fetch_Site": "cross-site"},
                {"Sec_Fetch_Site": "cross-site", "Origin": f"https://{HOST}"},
            ):
                answer = self.call(one, token=self.tokens["admin"], **headers)
                self.assertEqual((answer.status, answer.code), (403, "foreign_origin"), one.name)

    def test_careful_headers(self) -> None:
        for one in OPERATIONS:
            for token in (None, self.tokens["viewer"]):
                headers = self.call(one, token=token).headers
                self.assertIn("default-src 'none'", headers["content-security-policy"])
                self.assertIn("frame-ancestors 'none'", headers["content-security-policy"])
                self.assertEqual(headers["x-content-type-options"], "nosniff")
                self.assertEqual(headers["referrer-policy"], "no-referrer")
                self.assertFalse([name for name in headers if name.startswith("access-control")])


class TokenTests(WebTestCase):
    def test_right(self) -> None:
        for role, token in self.tokens.items():
            who = self.world.ask("GET", "/api/v1/session", token=token).json
            self.assertEqual(who, {"name": role, "role": role, "csrf": None})

    def test_revoked(self) -> None:
        self.world.tokens.revoke("viewer")
        self.assertEqual(self.world.begin("GET", "/api/v1/status", token=self.tokens["viewer"]).received, b"")

    def test_wrong_ones_wait(self) -> None:
        for seconds in (1, 2, 4):
            client = self.world.begin("GET", "/api/v1/status", token="cmmd_wrong")
            self.clock.advance(seconds - 0.1)
            self.assertIsNone(client.answer())
            second = self.world.ask("GET", "/api/v1/status", token="cmmd_other") if seconds == 4 else None
            if second is not None:
                self.assertEqual((second.status, second.code), (429, "too_many_requests"))
                self.assertGreaterEqual(int(second.headers["retry-after"]), 1)
                break
            self.clock.advance(0.1)
            answer = client.answer()
            assert answer is not None
            self.assertEqual(answer.code, "unauthorized")

    def test_they_hold_nobody_else_up(self) -> None:
        self.world.begin("GET", "/api/v1/status", token="cmmd_wrong")
        self.assertEqual(self.get("/status").status, 200)
        client = self.world.begin("GET", "/api/v1/status", token="cmmd_wrong", peer="192.0.2.8")
        self.clock.advance(1)
        answer = client.answer()
        assert answer is not None
        self.assertEqual(answer.status, 401)

    def test_who_does_not_wait(self) -> None:
        self.world.world.write_batch()
        client = self.world.begin("GET", "/api/v1/status", token="cmmd_wrong")
        client.transport.loseConnection()
        self.clock.advance(0)
        self.world.world.write_batch()  # the security event
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_who_goes_leaves_his_place_to_another(self) -> None:
        for path in ("/api/v1/status", "/api/v1/session"):
            for seconds in (1, 2, 4):
                client = self.world.begin("GET", path, token="cmmd_wrong", peer="192.0.2.8")
                self.assertIsNone(client.answer())
                if seconds < 4:
                    client.transport.loseConnection()
            self.clock.advance(4)
            answer = client.answer()
            assert answer is not None
            self.assertEqual(answer.code, "unauthorized", "it waited for what all of them have earned")
            self.clock.advance(FORGET_AFTER_S)

    def test_a_right_one_is_no_pardon(self) -> None:
        """Who has a token of his own cannot guess others behind it any faster."""
        for seconds in (1, 2):
            self.world.begin("GET", "/api/v1/status", token="cmmd_wrong")
            self.clock.advance(seconds)
        self.assertEqual(self.get("/status").status, 200)
        client = self.world.begin("GET", "/api/v1/status", token="cmmd_wrong")
        self.clock.advance(3.9)
        self.assertIsNone(client.answer())
        self.clock.advance(0.1)
        self.assertIsNotNone(client.answer())

    def test_other_schemes(self) -> None:
        for shown in ("Basic YTpi", "Bearer", "Bearer  ", "nonsense", "\xff"):
            self.assertEqual(self.world.ask("GET", "/api/v1/status", Authorization=shown).code, "unauthorized")

    def test_every_token_that_is_not_ours(self) -> None:
        for token in ("\xe4\xf6", "x" * 5000, "cmmd_" + "A" * 43):
            client = self.world.begin("GET", "/api/v1/status", token=token)
            self.clock.advance(30)
            answer = client.answer()
            assert answer is not None
            self.assertEqual(answer.status, 401)


class _Endpoint:
    """One that can be listened on at once."""

    def __init__(self, host: str) -> None:
        self._host = host

    def listen(self, _: Any) -> Any:
        return succeed(self)

    def getHost(self) -> Any:
        return IPv4Address("TCP", self._host, 1)


class NoTokenTests(SynchronousTestCase):
    """As long as there are no tokens there is only this machine, and it may look."""

    def setUp(self) -> None:
        self.world = WebWorld(Path(self.mktemp()))
        self.world.online()

    def ask(self, method: str = "GET", path: str = "/api/v1/status", **named: Any) -> Answered:
        return self.world.ask(method, path, **{"peer": "127.0.0.1", "Host": LOCAL, **named})

    def test_this_machine_may_look(self) -> None:
        self.assertEqual(self.ask("GET", "/api/v1/session").json["role"], "viewer")
        for one in OPERATIONS:
            if writes(one) and one.tag != "session":
                self.assertEqual(self.ask(one.method, address(one), body={}).code, "forbidden", one.name)

    def test_its_names(self) -> None:
        for host in ("localhost:21380", "127.0.0.1:21380", "[::1]:21380", "LOCALHOST:21380"):
            self.assertEqual(self.ask(Host=host).status, 200, host)
        self.assertEqual(self.ask(peer="::1").status, 200)
        self.assertEqual(self.ask(peer="::ffff:127.0.0.1").status, 200)

    def test_others_do_not(self) -> None:
        for named in (
            {"peer": "192.0.2.7"},
            {"Host": "rebound.example"},  # a page of a stranger whose name has become 127.0.0.1
            {"X_Forwarded_For": "192.0.2.7"},
            {"Forwarded": "for=192.0.2.7"},
            {"X_Real_IP": "192.0.2.7"},
            {"X_Forwarded_Proto": "https"},
            {"Via": "1.1 proxy"},
            {"CF_Ray": "1"},
            {"X_Envoy_External_Address": "192.0.2.7"},
            {"Host": "localhost"},  # as nginx's $host has it, which leaves out the port
            {"Host": "localhost:80"},  # of the proxy
        ):
            self.assertEqual(self.ask(**named).code, "unauthorized", named)

    def test_others_are_told_nothing(self) -> None:
        for one in OPERATIONS:
            if one.name == "sign_in":
                continue  # a link signs in before there is any token
            answer = self.ask(one.method, address(one), peer="192.0.2.7", Host=HOST)
            self.assertEqual((answer.status, answer.code), (401, "unauthorized"), one.name)
        for method, path in (("OPTIONS", "/session"), ("PUT", "/status"), ("GET", "/nothing"), ("GET", "")):
            answer = self.ask(method, f"/api/v1{path}", peer="192.0.2.7", Host=HOST)
            self.assertEqual(answer.code, "unauthorized", path)
        self.assertEqual(self.ask(path="/healthz", peer="192.0.2.7", Host=HOST).json["status"], "ok")

    def test_old_protocol_of_proxies(self) -> None:
        client = Client(self.world, "127.0.0.1")
        client.send(b"GET /api/v1/status HTTP/1.0\r\nHost: localhost:21380\r\n\r\n")
        self.assertIn(b" 401 ", client.received)

    def test_the_last_token_is_revoked(self) -> None:
        self.world.tokens.add("me", "viewer")
        self.world.tokens.revoke("me")
        self.assertEqual(self.ask().code, "unauthorized")

    def test_open_doors_without_tls(self) -> None:
        warned: list[str] = []

        @provider(ILogObserver)
        def observer(event: LogEvent) -> None:
            if "without TLS" in (formatEvent(event) or ""):
                warned.append(event["door"])

        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)
        doors = [("tcp:1", "0.0.0.0"), ("tcp:2", "127.0.0.1"), ("ssl:3", "0.0.0.0"), ("tls:certs", "0.0.0.0")]
        self.world.web._doors = [WebDoor(string, cast("Any", _Endpoint(host))) for string, host in doors]
        self.successResultOf(Deferred.fromCoroutine(self.world.web.listen()))
        self.assertEqual(warned, ["tcp:1"])

    def test_it_ends_with_the_first_token(self) -> None:
        self.assertEqual(self.ask().status, 200)
        self.world.tokens.add("me", "viewer")
        self.assertEqual(self.ask().code, "unauthorized")

    def test_a_file_that_cannot_be_read_lets_nobody_in(self) -> None:
        (self.world.tokens._path).write_text("[]")
        self.assertEqual(self.ask().code, "unauthorized")
        self.assertEqual(len(self.flushLoggedErrors()), 0)


class LimitedTokenTests(WebTestCase):
    """Tokens that expire, count from some networks, or for some things."""

    def status(self, token: str, path: str = "/api/v1/status", **named: Any) -> int:
        return self.world.ask("GET", path, token=token, **named).status

    def test_expiry(self) -> None:
        ends_at = int(self.clock.seconds() * 1000) + 5000
        token = self.world.tokens.add("short", "admin", expires_at=ends_at)
        stream = self.world.begin("GET", "/api/v1/events", token=token, Accept="text/event-stream")
        self.assertEqual(self.status(token), 200)
        self.clock.pump([1.0] * 30)
        self.assertEqual(self.status(token), 401)
        self.assertTrue(stream.transport.lost or stream.received.endswith(b"0\r\n\r\n"), "the stream ends, too")

    def test_networks(self) -> None:
        token = self.world.tokens.add("yard", "operator", networks=("192.0.2.0/28", "2001:db8::/32"))
        for peer, status in (
            *(("192.0.2.7", 200), ("::ffff:192.0.2.7", 200), ("2001:db8::1", 200)),
            *(("192.0.2.77", 401), ("2001:db9::1", 401), ("", 401)),
        ):
            self.assertEqual(self.status(token, peer=peer), status, peer)
        signed = self.world.ask("POST", "/api/v1/session", body={"token": token})
        cookie = signed.headers["set-cookie"].partition(";")[0]
        self.assertEqual(self.world.ask("GET", "/api/v1/status", Cookie=cookie).status, 200)
        self.assertEqual(self.world.ask("GET", "/api/v1/status", Cookie=cookie, peer="198.51.100.1").status, 401)

    def test_scopes(self) -> None:
        token = self.world.tokens.add("prometheus", "viewer", scopes=("metrics",))
        self.assertEqual(self.status(token), 403)
        self.assertEqual(self.world.ask("POST", "/api/v1/session", body={"token": token}).status, 403)
        found = self.world.tokens.find(token)
        assert found is not None
        self.assertTrue(found.has_scope("metrics"))

    def test_last_use(self) -> None:
        self.assertEqual(self.status(self.tokens["viewer"]), 200)
        self.assertEqual(read_uses(self.state), {"viewer": int(self.clock.seconds() * 1000)})


class SessionTests(WebTestCase):
    def sign_in(self, role: Any = "operator", **headers: str) -> tuple[str, str]:
        answer = self.world.ask("POST", "/api/v1/session", body={"token": self.tokens[role]}, **headers)
        self.assertEqual(answer.status, 201)
        cookie, *flags = answer.headers["set-cookie"].split("; ")
        self.assertTrue({"HttpOnly", "SameSite=Strict", "Path=/"} <= set(flags), flags)
        return cookie, answer.json["csrf"]

    def test_signs_in_and_out(self) -> None:
        cookie, csrf = self.sign_in()
        who = self.world.ask("GET", "/api/v1/session", Cookie=cookie).json
        self.assertEqual(who, {"name": "operator", "role": "operator", "csrf": csrf})
        gone = self.world.ask("DELETE", "/api/v1/session", Cookie=cookie, X_CSRF_Token=csrf)
        self.assertEqual(gone.status, 204)
        self.assertIn("Max-Age=0", gone.headers["set-cookie"])
        self.assertEqual(gone.headers["clear-site-data"], '"cache"')
        self.assertEqual(self.world.ask("GET", "/api/v1/status", Cookie=cookie).code, "unauthorized")

    def test_before_anybody_has_signed_in(self) -> None:
        nobody = {"name": None, "role": None, "csrf": None}
        for headers in ({}, {"Cookie": "cmmd_session=ended"}):
            answer = self.world.ask("GET", "/api/v1/session", **headers)
            self.assertEqual((answer.status, answer.json), (200, nobody))

    def test_writes_need_the_csrf_token(self) -> None:
        cookie, csrf = self.sign_in()
        path = f"/api/v1/devices/{HOSTID}/commands"
        for headers in ({}, {"X_CSRF_Token": "wrong"}, {"X_CSRF_Token": "x" * 1000}):
            answer = self.world.ask("POST", path, body={"kind": "reset"}, Cookie=cookie, **headers)
            self.assertEqual((answer.status, answer.code), (403, "bad_csrf_token"))
        self.assertEqual(self.world.sent, [])
        answer = self.world.ask(
            "POST", path, body={"kind": "reset"}, Cookie=cookie, X_CSRF_Token=csrf, Origin=f"http://{HOST}"
        )
        self.assertEqual(answer.status, 202)
        self.assertEqual(answer.json["requester"], "token operator")

    def test_secure_where_there_is_tls(self) -> None:
        for origin, secure in ((f"https://{HOST}", True), (f"http://{HOST}", False)):
            answer = self.world.ask("POST", "/api/v1/session", body={"token": self.tokens["viewer"]}, Origin=origin)
            self.assertEqual("Secure" in answer.headers["set-cookie"].split("; "), secure)
            self.assertEqual(answer.headers["set-cookie"].startswith("__Host-"), secure)
            cookie = answer.headers["set-cookie"].partition(";")[0]
            self.assertEqual(self.world.ask("GET", "/api/v1/session", Cookie=cookie).json["name"], "viewer")

    def test_each_daemon_has_a_cookie_of_its_own(self) -> None:
        """Cookies know no ports: two daemons of one host would sign each other's browsers out."""
        self.world.web.site.cookies = Cookies("0123abcd")
        cookie, _ = self.sign_in()
        self.assertTrue(cookie.startswith("cmmd_session_0123abcd="))
        other = "cmmd_session=other; cmmd_session_fedcba98=other"
        for cookies in (f"{cookie}; {other}", f"{other}; {cookie}"):
            self.assertEqual(self.world.ask("GET", "/api/v1/session", Cookie=cookies).json["name"], "operator")

    def test_over_tls_a_cookie_without_the_prefix_is_none(self) -> None:
        cookies = Cookies("0123abcd")
        secure, either = cookies.pattern(secure=True), cookies.pattern(secure=False)
        planted = b"cmmd_session_0123abcd=planted"
        self.assertIsNone(secure.search(planted))
        self.assertEqual([one[1] for one in either.finditer(planted)], [b"planted"])
        both = planted + b"; __Host-cmmd_session_0123abcd=mine"
        self.assertEqual([one[1] for one in secure.finditer(both)], [b"mine"])

    def test_a_link_signs_in_once(self) -> None:
        links = SignInLinks(self.state)
        now_ms = int(self.clock.seconds() * 1000)
        secret = links.make("admin", now_ms)
        answer = self.world.ask("POST", "/api/v1/session", body={"link": secret})
        self.assertEqual((answer.status, answer.json["role"]), (201, "admin"))
        cookie = answer.headers["set-cookie"].partition(";")[0]
        self.assertEqual(self.world.ask("GET", "/api/v1/session", Cookie=cookie).json["role"], "admin")
        for late in (secret, links.make("admin", now_ms - int(LINK_S * 1000)), "x"):
            client = self.world.begin("POST", "/api/v1/session", body={"link": late}, peer=f"198.51.100.{len(late)}")
            self.clock.advance(40)
            refused = client.answer()
            assert refused is not None
            self.assertEqual(refused.code, "unauthorized")
        for body in ({}, {"link": "x", "token": "y"}):
            self.assertEqual(self.world.ask("POST", "/api/v1/session", body=body).code, "bad_argument")
        self.clock.advance(LONGEST_S)
        self.assertEqual(self.world.ask("GET", "/api/v1/status", Cookie=cookie).code, "unauthorized")

    def test_wrong_token(self) -> None:
        client = self.world.begin("POST", "/api/v1/session", body={"token": "cmmd_wrong"})
        self.assertIsNone(client.answer())
        self.clock.advance(1)
        answer = client.answer()
        assert answer is not None
        self.assertEqual(answer.code, "unauthorized")
        self.assertNotIn("set-cookie", answer.headers)

    def test_ends_with_its_token(self) -> None:
        cookie, _ = self.sign_in()
        self.world.tokens.revoke("operator")
        self.assertEqual(self.world.ask("GET", "/api/v1/status", Cookie=cookie).code, "unauthorized")
        self.world.tokens.add("operator", "admin")
        self.assertEqual(self.world.ask("GET", "/api/v1/status", Cookie=cookie).code, "unauthorized")

    def test_ends_by_itself(self) -> None:
        cookie, _ = self.sign_in()
        self.clock.advance(IDLE_S - 1)
        self.assertEqual(self.world.ask("GET", "/api/v1/session", Cookie=cookie).status, 200)
        self.clock.advance(IDLE_S + 1)
        self.assertEqual(self.world.ask("GET", "/api/v1/status", Cookie=cookie).status, 401)

    def test_a_second_one_takes_the_place_of_the_first(self) -> None:
        first, _ = self.sign_in()
        self.sign_in(Cookie=first)
        self.assertEqual(self.world.ask("GET", "/api/v1/status", Cookie=first).status, 401)

    def test_one_token_signs_nobody_else_out(self) -> None:
        sign_ins = BrowserSessions(self.clock)
        other, _ = sign_ins.begin("other", "o")
        first, _ = sign_ins.begin("a", "b")
        for _ in range(MOST_OF_TOKEN):
            last, _ = sign_ins.begin("a", "b")
        self.assertIsNone(sign_ins.find(first))
        self.assertIsNotNone(sign_ins.find(last))
        self.assertIsNotNone(sign_ins.find(other))
        self.assertEqual(len(sign_ins), MOST_OF_TOKEN + 1)

    def test_bounds(self) -> None:
        sign_ins = BrowserSessions(self.clock)
        first, _ = sign_ins.begin("a", "b")
        for number in range(MOST_SESSIONS):
            last, _ = sign_ins.begin(f"a{number}", "b")
        self.assertEqual(len(sign_ins), MOST_SESSIONS)
        self.assertIsNone(sign_ins.find(first))
        for _ in range(int(LONGEST_S // IDLE_S)):
            self.clock.advance(IDLE_S - 1)
            self.assertIsNotNone(sign_ins.find(last))
        self.clock.advance(IDLE_S - 1)
        self.assertIsNone(sign_ins.find(last))


class LogTests(WebTestCase):
    """What somebody wanted who may not is in the log, a few lines of each address."""

    def setUp(self) -> None:
        super().setUp()
        self.said: list[str] = []

        @provider(ILogObserver)
        def observe(event: LogEvent) -> None:
            self.said.append(formatEvent(event))

        globalLogPublisher.addObserver(observe)
        self.addCleanup(globalLogPublisher.removeObserver, observe)

    def test_what_is_logged(self) -> None:
        path = f"/api/v1/devices/{HOSTID}/commands"
        self.world.ask("POST", path, token=self.tokens["viewer"], body={"kind": "reset"})
        self.world.fleet.presence.detach(HOSTID, self.world.session)
        self.world.ask("POST", path, token=self.tokens["operator"], body={"kind": "reset"})
        self.world.begin("GET", "/api/v1/status", token="cmmd_wrong")
        lines = [line for line in self.said if line.startswith("web: 192.0.2.7: ")]
        self.assertEqual(len(lines), 3, self.said)
        self.assertIn("viewer is viewer", lines[0])
        self.assertIn("offline", lines[1])
        self.assertNotIn("cmmd_wrong", lines[2])

    def test_how_often(self) -> None:
        for _ in range(10):
            self.world.ask("POST", "/api/v1/devices", token=self.tokens["viewer"], body={})
        self.assertEqual(len([line for line in self.said if line.startswith("web: ")]), 5)
