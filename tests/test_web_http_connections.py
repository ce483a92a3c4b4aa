"""HTTP within limits: long bodies, slow requests, odd bytes, too many connections."""

from pathlib import Path
from typing import cast

from hypothesis import given
from hypothesis import strategies as st
from twisted.logger import ILogObserver, LogEvent, eventAsText, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase
from twisted.web import http

from cmmd.web.http import admission, connections
from cmmd.web.http.admission import MOST_CONNECTIONS, MOST_STRANGERS
from cmmd.web.http.connections import ANSWERED_ONCE_S, IDLE_S, LINGER_S, REQUEST_S
from cmmd.web.http.request import MOST_BODY_BYTES, MOST_PARAMETERS, MOST_PIECES, MOST_SEGMENTS, LimitedRequest
from tests import support  # noqa: F401 - hypothesis' settings
from tests.hostile_http import ATTACKS, FLOODS, chunked
from tests.web_world import Answered, Client, WebWorld


class LimitTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.world = WebWorld(Path(self.mktemp()))
        self.clock = self.world.clock

    def answered(self, client: Client) -> Answered:
        answer = client.answer()
        assert answer is not None, client.received
        return answer

    def assert_refused(self, client: Client, status: int, code: str) -> None:
        answer = self.answered(client)
        self.assertEqual((answer.status, answer.code), (status, code))
        self.assertEqual(answer.headers["connection"], "close")
        self.assertIn("default-src 'none'", answer.headers["content-security-policy"])
        client.send(b"x" * 100_000)
        self.assertFalse(client.transport.lost)
        self.clock.advance(LINGER_S)
        self.assertTrue(client.transport.lost)

    def test_body_that_says_it_is_long(self) -> None:
        client = Client(self.world)
        client.request("POST", "/api/v1/session", {"Content-Length": str(10**12), "Expect": "100-continue"})
        self.assert_refused(client, 413, "too_large")

    def test_body_that_becomes_long(self) -> None:
        client = Client(self.world)
        client.request("POST", "/api/v1/session", {"Transfer-Encoding": "chunked"})
        for _ in range(MOST_BODY_BYTES // 4096 + 1):
            client.send(b"1000\r\n" + b"x" * 4096 + b"\r\n")
        self.assert_refused(client, 413, "too_large")

    def test_body_of_just_the_length(self) -> None:
        self.world.tokens.add("me", "viewer")
        client = Client(self.world)
        client.request("POST", "/api/v1/session", {"Content-Type": "application/json"}, b" " * MOST_BODY_BYTES)
        self.assertEqual(self.answered(client).status, 400)

    def test_expectation(self) -> None:
        client = Client(self.world)
        client.request("POST", "/api/v1/session", {"Content-Length": "2", "Expect": "100-continue"})
        self.assertEqual(client.received, b"HTTP/1.1 100 Continue\r\n\r\n")

    def test_long_addresses(self) -> None:
        client = Client(self.world)
        client.request("GET", "/" + "x" * 9000)
        self.assert_refused(client, 414, "uri_too_long")
        client = Client(self.world)
        client.send(b"GET /" + b"x" * 20_000)
        self.assert_refused(client, 414, "uri_too_long")

    def test_not_http(self) -> None:
        for sent in (
            b"nonsense\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: x\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
            b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
            b"GET / HTTP/1.1\r\nHost: x\r\n" + b"".join(b"A: b\r\n" for _ in range(501)) + b"\r\n",
        ):
            client = Client(self.world)
            client.send(sent)
            self.assert_refused(client, 400, "bad_argument")

    def test_slow_requests(self) -> None:
        for begun in (b"G", b"GET / HTTP/1.1\r\nHost", b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 50\r\n\r\n"):
            client = Client(self.world)
            client.send(begun)
            for _ in range(int(REQUEST_S) - 1):
                self.clock.advance(1)
                client.send(b"x")
            self.assertFalse(client.transport.lost)
            self.clock.advance(1)
            self.assertTrue(client.transport.lost)

    def test_silence(self) -> None:
        client = Client(self.world)
        self.clock.advance(IDLE_S + LINGER_S)
        self.assertTrue(client.transport.lost)

    def test_one_after_the_other(self) -> None:
        client = Client(self.world)
        for _ in range(3):
            self.clock.advance(REQUEST_S)
            client.request("GET", "/healthz")
            self.assertEqual(self.answered(client).status, 200)
        self.clock.advance(0)
        client.request("GET", "/healthz", {"Connection": "close"})
        self.assertTrue(client.transport.lost)

    def test_at_once(self) -> None:
        client = Client(self.world)
        client.send(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n" * 3)
        self.assertEqual(self.answered(client).status, 200)
        self.assertEqual(client.received, b"")  # one in each turn of the reactor
        self.clock.advance(0)
        for _ in range(2):
            self.assertEqual(self.answered(client).status, 200)

    def test_at_once_behind_a_body(self) -> None:
        client = Client(self.world)
        client.send(
            b"POST /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\nxGET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
        )
        for status in (405, 200):
            self.assertEqual(self.answered(client).status, status)
            self.clock.advance(0)

    def test_none_is_answered_whose_reader_is_behind(self) -> None:
        client = Client(self.world)
        client.send(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n" * 3)
        client.pause()
        self.clock.advance(1)
        self.assertEqual(self.answered(client).status, 200)
        self.assertEqual(client.received, b"")
        client.send(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n" * 1000)
        self.assertEqual(client.transport.producerState, "paused")
        client.resume()
        for _ in range(3):
            self.clock.advance(0)
            self.assertEqual(self.answered(client).status, 200)

    def test_reader_that_never_comes_back(self) -> None:
        client = Client(self.world)
        client.send(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n" * 3)
        client.pause()
        self.clock.advance(IDLE_S)
        self.clock.advance(LINGER_S)
        self.assertTrue(client.transport.lost)

    def test_old_protocol(self) -> None:
        client = Client(self.world)
        client.send(b"GET /healthz HTTP/1.0\r\n\r\n")
        self.assertTrue(client.transport.lost)
        self.assertIn(b" 200 OK", client.received)

    def test_too_many_connections(self) -> None:
        self.patch(admission, "MOST_CONNECTIONS", 3)
        first = [Client(self.world, "127.0.0.1") for _ in range(3)]
        fourth = Client(self.world)
        self.assertEqual([one.transport.lost for one in first], [True, False, False])
        for one in first[1:]:
            one.request("GET", "/api/v1/events", {"Host": "localhost:21380", "Accept": "text/event-stream"})
        fifth = Client(self.world)
        self.assertTrue(fourth.transport.lost)
        fifth.request("POST", "/", {"Content-Length": "1"})
        self.assertFalse(fifth.refused)
        self.assertGreater(MOST_CONNECTIONS, 3)

    def test_too_many_of_one_address(self) -> None:
        others = [Client(self.world, "192.0.2.9") for _ in range(2)]
        mine = [Client(self.world) for _ in range(MOST_STRANGERS)]
        Client(self.world)
        self.assertEqual([one.transport.lost for one in (*others, *mine[:2])], [False, False, True, False])
        local = [Client(self.world, "127.0.0.1") for _ in range(MOST_STRANGERS + 1)]
        self.assertFalse(any(one.transport.lost for one in local))

    def test_who_is_not_known_makes_room(self) -> None:
        self.patch(admission, "MOST_CONNECTIONS", 2)
        known = Client(self.world, "127.0.0.1")
        known.request("GET", "/api/v1/status", {"Host": "localhost:21380"})
        self.clock.advance(0)
        stranger = Client(self.world)
        stranger.request("GET", "/api/v1/status", {"Authorization": "Bearer wrong"})
        self.assertFalse(Client(self.world).refused)
        self.assertEqual([known.transport.lost, stranger.transport.lost], [False, True])

    def test_where_none_is_idle(self) -> None:
        self.patch(admission, "MOST_CONNECTIONS", 1)
        busy = Client(self.world, "127.0.0.1")
        busy.request("GET", "/api/v1/events", {"Host": "localhost:21380", "Accept": "text/event-stream"})
        late = Client(self.world)
        late.request("GET", "/api/v1/status")
        self.assertEqual(self.answered(late).code, "too_many_connections")
        self.assertFalse(busy.transport.lost)

    def test_behind_a_proxy(self) -> None:
        """All come from one address: who has shown a token is known by it, and does not count among the strangers."""
        tokens = [self.world.tokens.add(f"user{number}", "viewer") for number in range(MOST_STRANGERS + 20)]
        streams = []
        for token in tokens:
            client = Client(self.world, "192.0.2.1")
            headers = {"Authorization": f"Bearer {token}", "Accept": "text/event-stream"}
            client.request("GET", "/api/v1/events", headers)
            streams.append(client)
        self.clock.advance(0)
        self.assertEqual([b" 200 OK" in one.received for one in streams], [True] * len(tokens))
        self.assertFalse(any(one.transport.lost for one in streams))

    def test_health_and_administrators_are_answered_where_there_is_no_room(self) -> None:
        tokens = {role: self.world.tokens.add(role, role) for role in ("viewer", "admin")}
        self.patch(admission, "MOST_CONNECTIONS", 2)
        for _ in range(2):
            busy = Client(self.world, "127.0.0.1")
            headers = {"Authorization": f"Bearer {tokens['viewer']}", "Accept": "text/event-stream"}
            busy.request("GET", "/api/v1/events", headers)
        for headers, path, status in (
            ({}, "/healthz", 200),
            ({}, "/api/v1/status", 503),
            ({"Authorization": f"Bearer {tokens['viewer']}"}, "/api/v1/status", 503),
            ({"Authorization": "Bearer wrong"}, "/api/v1/status", 503),
            ({"Authorization": f"Bearer {tokens['admin']}"}, "/api/v1/status", 200),
        ):
            client = Client(self.world, "198.51.100.1")
            client.request("GET", path, headers)
            self.assertEqual(self.answered(client).status, status, (headers, path))

    def test_silent_ones_do_not_hold_the_reserved_places(self) -> None:
        self.patch(admission, "MOST_CONNECTIONS", 1)
        busy = Client(self.world, "127.0.0.1")
        busy.request("GET", "/api/v1/events", {"Host": "localhost:21380", "Accept": "text/event-stream"})
        silent = [Client(self.world) for _ in range(admission.RESERVED + 10)]
        self.assertEqual(sum(one.transport.lost for one in silent), 10)
        check = Client(self.world)
        check.request("GET", "/healthz")
        self.assertEqual(self.answered(check).status, 200)
        self.clock.advance(ANSWERED_ONCE_S)
        self.assertTrue(all(one.transport.lost for one in silent))

    def test_host(self) -> None:
        for head, status in (
            (b"GET /healthz HTTP/1.1\r\n" + b"\r\n", 400),
            (b"GET /healthz HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
            (b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n", 200),
            (b"GET http://gensets.example/healthz HTTP/1.1\r\nHost: other\r\n\r\n", 200),
            (b"GET HTTP://gensets.example HTTP/1.1\r\nHost: other\r\n\r\n", 200),
            (b"GET http://gensets.example?x=1 HTTP/1.1\r\nHost: other\r\n\r\n", 200),
        ):
            client = Client(self.world)
            client.send(head)
            self.clock.pump([0.0] * 5)
            self.assertIn(b" %d " % status, client.received.partition(b"\r\n")[0], head)

    def test_a_whole_address_has_the_host(self) -> None:
        """RFC 9112, 3.2.2: what stands in Host does not count; a page of another host is one all the same."""
        client = Client(self.world, "127.0.0.1")
        client.send(b"GET http://rebound.example/api/v1/status HTTP/1.1\r\nHost: localhost:21380\r\n\r\n")
        self.assertEqual(self.answered(client).status, 401)
        client = Client(self.world, "127.0.0.1")
        client.send(b"GET http://localhost:21380/api/v1/status HTTP/1.1\r\nHost: rebound.example\r\n\r\n")
        self.assertEqual(self.answered(client).status, 200)

    def test_forms_are_not_taken(self) -> None:
        self.world.tokens.add("me", "viewer")
        client = Client(self.world)
        body = b'--x\r\nContent-Disposition: form-data; name="token"\r\n\r\nt\r\n--x--\r\n'
        client.request("POST", "/api/v1/session", {"Content-Type": "multipart/form-data; boundary=x"}, body)
        self.assertEqual(self.answered(client).code, "unsupported_media_type")

    @given(st.binary(max_size=200))
    def test_garbage(self, garbage: bytes) -> None:
        client = Client(self.world)
        client.send(garbage)
        self.clock.advance(REQUEST_S)
        client = Client(self.world)
        client.send(b"GET /api/v1/" + garbage.replace(b"\n", b"") + b" HTTP/1.1\r\nHost: x\r\n\r\n")
        self.clock.advance(REQUEST_S)
        self.assertNotIn(b" 500 ", client.received)


class HostileTests(SynchronousTestCase):
    """Clients without a token: no request costs more than a little work and a little log."""

    def setUp(self) -> None:
        self.world = WebWorld(Path(self.mktemp()))
        self.world.tokens.add("me", "viewer")
        self.logged: list[LogEvent] = []
        observer = cast(ILogObserver, self.logged.append)
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)

    def count(self, cls: type, name: str) -> list[None]:
        """Count calls of a method."""
        calls: list[None] = []
        original = getattr(cls, name)

        def counted(*args: object) -> object:
            calls.append(None)
            return original(*args)

        self.patch(cls, name, counted)
        return calls

    def sent(self, request: bytes) -> Client:
        """Send a request, in receives of the size that the connection allows."""
        client = Client(self.world)
        size = client.transport.bufferSize
        for at in range(0, len(request), size):
            client.send(request[at : at + size])
        return client

    def test_little_is_read_at_once(self) -> None:
        client = Client(self.world)
        self.assertEqual(client.transport.bufferSize, connections.BYTES_A_RECEIVE)
        self.assertLessEqual(connections.BYTES_A_RECEIVE, 16 * 1024)

    def test_little_is_read_at_once_through_tls(self) -> None:
        client = Client(self.world)
        above = type("Layer", (), {"transport": client.transport})()
        self.assertIs(connections._socket_below(above), client.transport)

    def test_bodies_are_not_parsed_as_forms(self) -> None:
        self.assertFalse(self.world.web.site._parsePOSTFormSubmission)
        for parser in ("_parseContentType", "_getMultiPartArgs", "parse_qs"):
            self.patch(http, parser, lambda *_: self.fail("parsed"))
        for name in ("content type, semicolons", "content type, brackets", "multipart", "form"):
            answer = self.sent(ATTACKS[name]).answer()
            assert answer is not None, name
            self.assertEqual(answer.code, "unsupported_media_type", name)

    def test_address_is_checked_before_it_is_parsed(self) -> None:
        self.patch(http, "parse_qs", lambda *_: self.fail("parsed"))
        walked = self.count(http.Request, "requestReceived")
        for path, code in (
            (b"/healthz?" + b"&" * MOST_PARAMETERS, "bad_argument"),
            (b"/healthz?" + b";" * MOST_PARAMETERS, "bad_argument"),
            (b"/" * (MOST_SEGMENTS + 1), "not_found"),
        ):
            answer = self.sent(b"GET " + path + b" HTTP/1.1\r\nHost: x\r\n\r\n").answer()
            assert answer is not None, path
            self.assertEqual(answer.code, code)
        self.assertEqual(walked, [])

    def test_as_many_parameters_and_segments_as_are_allowed(self) -> None:
        for path, status in (
            (b"/healthz?" + b"&" * (MOST_PARAMETERS - 1), 200),
            (b"/api/v1" + b"/x" * (MOST_SEGMENTS - 2), 404),
        ):
            client = self.sent(b"GET " + path + b" HTTP/1.1\r\nHost: x\r\n\r\n")
            answer = client.answer()
            assert answer is not None, path
            self.assertEqual(answer.status, status)
            self.assertNotIn("connection", answer.headers)

    def test_chunks_are_counted(self) -> None:
        taken = self.count(LimitedRequest, "handleContentChunk")
        answer = self.sent(ATTACKS["chunks"]).answer()
        assert answer is not None
        self.assertEqual(answer.code, "too_large")
        self.assertEqual(len(taken), MOST_PIECES + 1)

    def test_as_many_chunks_as_are_allowed(self) -> None:
        answer = self.sent(chunked(b"1\r\nx\r\n" * MOST_PIECES + b"0\r\n\r\n")).answer()
        assert answer is not None
        self.assertEqual(answer.code, "unsupported_media_type")

    def test_slow_body_that_is_not_chunked_has_any_number_of_segments(self) -> None:
        client = Client(self.world)
        client.request("POST", "/api/v1/session", {"Content-Length": str(2 * MOST_PIECES)})
        for _ in range(2 * MOST_PIECES):
            client.send(b"x")
        answer = client.answer()
        assert answer is not None
        self.assertEqual(answer.code, "unsupported_media_type")

    def test_lines_behind_a_refusal_are_not_looked_at(self) -> None:
        lines = self.count(connections.Limited, "lineReceived")
        for name in ("lines", "lines that are nonsense", "folded header"):
            lines.clear()
            answer = self.sent(ATTACKS[name]).answer()
            assert answer is not None, name
            self.assertEqual(answer.code, "bad_argument", name)
            self.assertLess(len(lines), 6, name)

    def test_cookies(self) -> None:
        client = self.sent(
            b"GET /api/v1/status HTTP/1.1\r\nHost: x\r\nCookie: a=b; xcmmd_session=no;cmmd_session=yes; c\r\n"
        )
        request = client.protocol.requests[-1]
        client.send(b"Cookie: cmmd_sessions=no\r\n\r\n")
        self.assertEqual(request.received_cookies, {b"cmmd_session": b"yes"})

    def test_head_is_answered_without_a_body(self) -> None:
        answer = self.sent(ATTACKS["HEAD"]).answer(head=True)
        assert answer is not None
        whole = self.sent(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").answer()
        assert whole is not None
        self.assertEqual(answer.headers["content-length"], str(len(whole.body)))

    def test_log_is_bounded(self) -> None:
        for name, request in (*ATTACKS.items(), *FLOODS.items()):
            self.logged.clear()
            for _ in range(2 if name in FLOODS else 10):
                client = self.sent(request)
                self.world.clock.advance(0)
                client.transport.lose(RuntimeError())
            said = "".join(eventAsText(event) for event in self.logged if "log_failure" in event or event["log_format"])
            self.assertLess(len(said), 1500, f"{name}: {said[:3000]}")
            self.assertEqual(self.flushLoggedErrors(), [], name)

    def test_trailers_are_few(self) -> None:
        answer = self.sent(ATTACKS["trailers"]).answer()
        assert answer is not None
        self.assertEqual(answer.code, "bad_argument")
        answer = self.sent(chunked(b"0\r\nDigest: x\r\n\r\n")).answer()
        assert answer is not None
        self.assertEqual(answer.code, "unsupported_media_type")

    def test_accept_is_short(self) -> None:
        answer = self.sent(ATTACKS["Accept"]).answer()
        assert answer is not None
        self.assertEqual(answer.json["field"], "header.Accept")

    def exhaust(self) -> None:
        """Have all connections wait for the next turn."""
        self.world.web.site.budget._spent_s = 1.0

    def test_connections_wait_for_a_turn_when_this_one_has_taken_long(self) -> None:
        self.exhaust()
        first, second = self.sent(ATTACKS["HEAD"]), self.sent(ATTACKS["HEAD"])
        self.assertEqual([first.received, second.received], [b"", b""])
        self.assertEqual([one.transport.producerState for one in (first, second)], ["paused", "paused"])
        self.world.clock.advance(0)
        for client in (first, second):
            self.assertIn(b" 200 OK", client.received)
            self.assertEqual(client.transport.producerState, "producing")

    def test_requests_are_read_in_order_wherever_they_wait(self) -> None:
        get, post = (
            b"GET %s HTTP/1.1\r\nHost: x\r\n\r\n",
            b"POST /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nxy",
        )
        requests = get % b"/a" + post + get % b"/healthz"
        for cut in range(1, len(requests)):
            client = Client(self.world)
            for segment in (requests[:cut], requests[cut : cut + 30], requests[cut + 30 :]):
                self.exhaust()
                client.send(segment)
                if cut % 2:
                    self.world.clock.advance(0)
            statuses = []
            for _ in range(8):
                self.world.clock.advance(0)
                answer = client.answer()
                statuses += [] if answer is None else [answer.status]
                self.exhaust()
            self.assertEqual(statuses, [404, 405, 200], cut)

    def test_connection_that_is_lost_while_it_waits(self) -> None:
        self.exhaust()
        client = self.sent(ATTACKS["HEAD"])
        self.assertEqual(len(self.world.web.site.budget), 1)
        client.transport.lose(RuntimeError())
        self.assertEqual(len(self.world.web.site.budget), 0)

    def test_a_parser_that_fails_ends_the_connection_and_logs_a_few_times(self) -> None:
        def fails(*_: object) -> bool:
            raise ZeroDivisionError

        self.patch(http.HTTPChannel, "headerReceived", fails)
        for _ in range(100):
            self.assertTrue(self.sent(ATTACKS["query"]).transport.lost)
        self.assertLessEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 5)
