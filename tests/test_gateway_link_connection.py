"""``cmmd.gateway.link.connection``: asking, and being told that it is over. The rest shows in the tests of the link."""

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from cmmd.gateway.link.connection import LinkError, ServerConnection
from cmmd.wire.messages import Heartbeat

HEARTBEAT = Heartbeat(hostid="A", params="")


class ServerConnectionTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.transport = StringTransport()  # not TCP: there is no Nagle to turn off
        self.connection = ServerConnection(self.clock, Logger())
        self.connection.makeConnection(self.transport)
        self.ends: list[LinkError] = []
        self.connection.on_end = self.ends.append

    def ask(self) -> "Deferred[object]":
        return Deferred.fromCoroutine(self.connection.ask(HEARTBEAT, "HB"))

    def lose(self) -> None:
        self.connection.connectionLost(Failure(ConnectionDone()))

    def test_what_is_read_after_a_standstill(self) -> None:
        """Nobody knows how old it is: the order in it is not even read."""
        stood_still_s, commands = 0.0, list[object]()
        connection = ServerConnection(self.clock, Logger(), lambda: stood_still_s)
        connection.makeConnection(StringTransport())
        connection.on_end, connection.on_command = self.ends.append, commands.append
        order = b'{"result":"00050003FF007DEB","datatype":1,"uid":"1","method":"writeConfig"}'
        connection.dataReceived(order)
        self.assertEqual((len(commands), self.ends), (1, []))
        stood_still_s = 7.0
        connection.dataReceived(order)
        connection.dataReceived(order)
        self.assertEqual(len(commands), 1)
        (end,) = self.ends
        self.assertIn("stood still for 7 s", str(end))

    def test_question_and_answer(self) -> None:
        answer = self.ask()
        self.assertEqual(self.transport.value(), b'{"method":"HB","hostid":"A","params":""}')
        self.connection.dataReceived(b'{"method":"hb"}{"method":"HB","message":"OK",')
        self.assertNoResult(answer)
        self.connection.dataReceived(b'"retcode":"000000"}')
        self.successResultOf(answer)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual(self.ends, [])

    def test_lost_while_asking(self) -> None:
        answer = self.ask()
        self.lose()
        self.failureResultOf(answer, LinkError)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_asking_when_it_is_over(self) -> None:
        self.lose()
        self.failureResultOf(self.ask(), LinkError)
        self.assertEqual(self.transport.value(), b"")
        self.assertEqual([str(end) for end in self.ends], ["connection lost: Connection was closed cleanly."])

    def test_the_end_is_told_once(self) -> None:
        self.connection.dataReceived(b"nonsense")
        self.connection.dataReceived(b"nonsense")
        self.lose()
        self.assertEqual(len(self.ends), 1)
        self.assertTrue(self.transport.disconnected)

    def test_closing_what_is_gone(self) -> None:
        self.lose()
        self.successResultOf(Deferred.fromCoroutine(self.connection.close()))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_closing_is_cut_after_a_second(self) -> None:
        closing = Deferred.fromCoroutine(self.connection.close())
        self.assertTrue(self.transport.disconnecting)
        self.clock.advance(0.9)
        self.assertFalse(self.transport.disconnected)
        self.clock.advance(0.1)
        self.assertTrue(self.transport.disconnected)
        self.assertNoResult(closing)
        self.lose()
        self.successResultOf(closing)
