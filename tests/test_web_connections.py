"""HTTP within limits: long bodies, slow requests, odd bytes, too many connections."""

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from cmmd.web import connections
from cmmd.web.connections import IDLE_S, LINGER_S, MOST_BODY_BYTES, MOST_CONNECTIONS, MOST_CONNECTIONS_EACH, REQUEST_S
from tests import support  # noqa: F401 - hypothesis' settings
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
            b"GET / HTTP/1.1\r\nContent-Length: x\r\n\r\n",
            b"GET / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
            b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
            b"GET / HTTP/1.1\r\n" + b"".join(b"A: b\r\n" for _ in range(501)) + b"\r\n",
        ):
            client = Client(self.world)
            client.send(sent)
            self.assert_refused(client, 400, "bad_argument")

    def test_slow_requests(self) -> None:
        for begun in (b"G", b"GET / HTTP/1.1\r\nHost", b"POST / HTTP/1.1\r\nContent-Length: 50\r\n\r\n"):
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
        client.send(b"GET /healthz HTTP/1.1\r\n\r\n" * 3)
        self.assertEqual(self.answered(client).status, 200)
        self.assertEqual(client.received, b"")  # one in each turn of the reactor
        self.clock.advance(0)
        for _ in range(2):
            self.assertEqual(self.answered(client).status, 200)

    def test_at_once_behind_a_body(self) -> None:
        client = Client(self.world)
        client.send(b"POST /healthz HTTP/1.1\r\nContent-Length: 1\r\n\r\nx" + b"GET /healthz HTTP/1.1\r\n\r\n")
        for status in (405, 200):
            self.assertEqual(self.answered(client).status, status)
            self.clock.advance(0)

    def test_none_is_answered_whose_reader_is_behind(self) -> None:
        client = Client(self.world)
        client.send(b"GET /healthz HTTP/1.1\r\n\r\n" * 3)
        client.pause()
        self.clock.advance(1)
        self.assertEqual(self.answered(client).status, 200)
        self.assertEqual(client.received, b"")
        client.send(b"GET /healthz HTTP/1.1\r\n\r\n" * 1000)
        self.assertEqual(client.transport.producerState, "paused")
        client.resume()
        for _ in range(3):
            self.clock.advance(0)
            self.assertEqual(self.answered(client).status, 200)

    def test_reader_that_never_comes_back(self) -> None:
        client = Client(self.world)
        client.send(b"GET /healthz HTTP/1.1\r\n\r\n" * 3)
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
        self.patch(connections, "MOST_CONNECTIONS", 3)
        first = [Client(self.world, "127.0.0.1") for _ in range(3)]
        fourth = Client(self.world)
        self.assertEqual([one.transport.lost for one in first], [True, False, False])
        for one in first[1:]:
            one.request("GET", "/api/v1/events", {"Host": "localhost", "Accept": "text/event-stream"})
        fifth = Client(self.world)
        self.assertTrue(fourth.transport.lost)
        fifth.request("POST", "/", {"Content-Length": "1"})
        self.assertFalse(fifth.refused)
        self.assertGreater(MOST_CONNECTIONS, 3)

    def test_too_many_of_one_address(self) -> None:
        others = [Client(self.world, "192.0.2.9") for _ in range(2)]
        mine = [Client(self.world) for _ in range(MOST_CONNECTIONS_EACH)]
        Client(self.world)
        self.assertEqual([one.transport.lost for one in (*others, *mine[:2])], [False, False, True, False])
        local = [Client(self.world, "127.0.0.1") for _ in range(MOST_CONNECTIONS_EACH + 1)]
        self.assertFalse(any(one.transport.lost for one in local))

    def test_who_is_not_known_makes_room(self) -> None:
        self.patch(connections, "MOST_CONNECTIONS", 2)
        known = Client(self.world, "127.0.0.1")
        known.request("GET", "/api/v1/status", {"Host": "localhost"})
        self.clock.advance(0)
        stranger = Client(self.world)
        stranger.request("GET", "/api/v1/status", {"Authorization": "Bearer wrong"})
        self.assertFalse(Client(self.world).refused)
        self.assertEqual([known.transport.lost, stranger.transport.lost], [False, True])

    def test_where_none_is_idle(self) -> None:
        self.patch(connections, "MOST_CONNECTIONS", 1)
        busy = Client(self.world, "127.0.0.1")
        busy.request("GET", "/api/v1/events", {"Host": "localhost", "Accept": "text/event-stream"})
        self.assertTrue(Client(self.world).refused)
        self.assertFalse(busy.transport.lost)

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
        client.send(b"GET /api/v1/" + garbage.replace(b"\n", b"") + b" HTTP/1.1\r\n\r\n")
        self.clock.advance(REQUEST_S)
        self.assertNotIn(b" 500 ", client.received)
