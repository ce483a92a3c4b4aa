"""Browsers on the port of devices: recognized whatever the segmentation, and nothing they send is obeyed."""

import random
from collections.abc import Iterator, Mapping
from http import HTTPMethod

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from cmmd.server import foreign
from cmmd.server.foreign import ForeignProtocols
from cmmd.wire.errors import Reason
from tests import support  # noqa: F401 - hypothesis' settings
from tests.browsers import FOREIGN, HOST, LOGIN
from tests.plain_device import login, message
from tests.transports import SegmentTransport
from tests.world import HOSTID, World

OURS: Mapping[str, bytes] = {
    "a message": message("HB", HOSTID),
    "blanks before": b"\xef\xbb\xbf\r\n\0 " + message("HB", HOSTID),
    "a modem's garbage": b"\r\nNO CARRIER\r\nGETTING /\r\n+POST: 1\r\n\xff\xfe" + message("HB", HOSTID),
    "on many lines": b'{\r\n"method":"HB",\n"hostid":\n"' + HOSTID.encode() + b'",\n"host":"x",\n"Host" :"y"}',
    "nearly a host": message("HB", HOSTID) + b"\nhostess:\n Host:\nxHost:\nHost\n: \nhos\nt:" + message("HB", HOSTID),
    "host within a line": b'{"method":"HB","hostid":"' + HOSTID.encode() + b'","params":"Host: GET / HTTP/1.1"}',
    "TLS later": message("HB", HOSTID) + b"\x16\x03\x01",
    "method later": message("HB", HOSTID) + b"POST / HTTP/1.0\r\n\r\n",
    "half of TLS": b"\x16\x04\x01" + message("HB", HOSTID),
}


def cuts(stream: bytes, step: int = 1) -> Iterator[list[bytes]]:
    """A stream whole, cut at every place or every so many bytes, and byte by byte."""
    yield [stream]
    for at in range(1, len(stream), step):
        yield [stream[:at], stream[at:]]
    yield [stream[at : at + 1] for at in range(len(stream))]


def recognized(segments: list[bytes]) -> bool:
    protocols = ForeignProtocols()
    return any(protocols.recognized(segment) for segment in segments)


class RecognizingTests(SynchronousTestCase):
    def test_other_protocols_wherever_they_are_cut(self) -> None:
        for name, stream in FOREIGN.items():
            for segments in cuts(stream):
                self.assertTrue(recognized(segments), f"{name}: {segments}")

    def test_before_the_first_document_is_whole(self) -> None:
        for name, stream in FOREIGN.items():
            if b"{" in stream:
                self.assertTrue(recognized([stream[: stream.index(b"{")]]), name)

    def test_devices_wherever_they_are_cut(self) -> None:
        for name, stream in OURS.items():
            for segments in cuts(stream):
                self.assertFalse(recognized(segments), f"{name}: {segments}")

    def test_every_registered_method(self) -> None:
        for method in foreign._METHODS:
            for end in (b" ", b"\t", b"\r\n"):
                self.assertTrue(recognized([method + end]))
            self.assertFalse(recognized([method + b"{"]))
        self.assertLess({method.value.encode() for method in HTTPMethod}, set(foreign._METHODS))

    @given(
        st.lists(st.sampled_from((b"\n", b"\r\n", b"h", b"ost", b"Hos", b"t", b":", b"host", b"{}", b" "))), st.data()
    )
    def test_a_line_is_found_as_in_the_whole(self, pieces: list[bytes], data: st.DataObject) -> None:
        stream = b"{" + b"".join(pieces)
        places = sorted(data.draw(st.sets(st.integers(0, len(stream)))))
        segments = [stream[a:b] for a, b in zip([0, *places], [*places, len(stream)], strict=True)]
        self.assertEqual(recognized(segments), b"\nhost:" in stream.lower())

    def test_little_is_kept(self) -> None:
        source = random.Random(12)
        for alphabet in (b"\n", b"\nhost", b" \r\n", b"x"):
            protocols = ForeignProtocols()
            for _ in range(1000):
                protocols.recognized(bytes(source.choices(alphabet, k=5)))
                self.assertLess(len(protocols._line), 6)
                self.assertLess(len(protocols._start or b""), 64)

    def test_segments_of_devices_are_not_copied(self) -> None:
        class Untouched(bytes):
            def lower(self) -> bytes:
                raise AssertionError("searched")

            def __radd__(self, _: bytes) -> bytes:
                raise AssertionError("copied")

        protocols = ForeignProtocols()
        protocols.recognized(b"{")
        self.assertFalse(protocols.recognized(Untouched(b'"method":"HB"}' * 1000)))


class ObeyingTests(SynchronousTestCase):
    """On a connection: closed, counted once, and nothing in it obeyed."""

    def setUp(self) -> None:
        self.world = World()

    def assert_nothing_obeyed(self, name: str, segments: list[bytes]) -> None:
        self.world.counters.peer_errors.clear()
        transport = self.world.connect()
        for segment in segments:
            if not transport.lost:
                transport.deliver(segment)
                transport.turns()
        self.world.clock.advance(1)
        self.assertTrue(transport.aborted, f"{name}: {segments}")
        self.assertEqual(self.world.counters.peer_errors[Reason.FOREIGN_PROTOCOL], 1, name)
        self.assertIsNone(self.world.registry.device("BROWSER1"), f"{name}: {segments}")
        self.assertEqual(dict(self.world.counters.messages), {}, f"{name}: {segments}")

    def test_whatever_the_segmentation(self) -> None:
        for name, stream in FOREIGN.items():
            for segments in cuts(stream, 13):
                self.assert_nothing_obeyed(name, segments)

    def test_documents_before_the_line_in_its_segment(self) -> None:
        self.assert_nothing_obeyed("before", [LOGIN + b"\r\n" + HOST + LOGIN])

    def test_one_error_where_it_comes_whole(self) -> None:
        transport = self.world.connect()
        transport.deliver(FOREIGN["fetch, no-cors"])
        self.assertEqual(self.world.counters.peer_errors, {Reason.FOREIGN_PROTOCOL: 1})
        self.assertEqual(transport.segments, [])

    def test_documents_that_wait_behind_an_answer(self) -> None:
        self.world.register()
        self.world.counters.messages.clear()
        transport = self.world.connect()
        transport.peer_reads = False
        transport.deliver(message("HB", HOSTID) + LOGIN)
        transport.deliver(b"\r\n" + HOST)
        self.world.clock.advance(1)
        self.assertTrue(transport.aborted)
        self.assertFalse(self.world.presence.online(HOSTID))
        self.assertIsNone(self.world.registry.device("BROWSER1"))
        self.assertEqual(dict(self.world.counters.messages), {"HB": 1})

    def test_login_that_is_being_decided(self) -> None:
        self.world.hold_passwords()
        transport = self.world.connect()
        transport.deliver(login("MODULE1"))
        transport.deliver(b"\r\n" + HOST + LOGIN)
        self.world.release_passwords()
        self.world.clock.advance(1)
        self.assertTrue(transport.aborted)
        self.assertEqual(transport.segments, [])
        self.assertIsNone(self.world.registry.device("BROWSER1"))

    def test_devices_are_served(self) -> None:
        self.world.register()
        for name, stream in OURS.items():
            for segments in cuts(stream):
                transport: SegmentTransport = self.world.connect()
                for segment in segments:
                    transport.deliver(segment)
                    transport.turns()
                self.assertFalse(transport.aborted, name)
                self.assertTrue(any(b'"HB","message":"OK"' in one for one in transport.segments), name)
                transport.hang_up()
