"""A Twisted server that parses each message and answers by its method, and does nothing else.

``python reference_twisted.py PORT [tuned]``

Plain: Twisted's epoll reactor as it is. Tuned: without a log context around each event, with a direct send where
nothing is unsent, and a read buffer of 4 KiB: what Twisted can do where everything else is left out.
"""

import resource
import sys
from errno import EINTR
from select import EPOLLIN
from typing import Any

import msgspec
from twisted.internet import epollreactor
from twisted.internet.main import installReactor
from twisted.internet.protocol import Factory, Protocol
from twisted.python import log

UPLOAD_ANSWER = b'{"method":"reqdata","message":"OK","retcode":"000000"}'
ANSWERS = {
    "HB": b'{"method":"HB","message":"OK","retcode":"000000"}',
    "reqdata": UPLOAD_ANSWER,
    "reqdatachange": UPLOAD_ANSWER,
}
READ_BUFFER_BYTES = 4096
MOST_EVENTS = 1024

read = msgspec.json.Decoder().decode


class DirectReactor(epollreactor.EPollReactor):
    """Twisted's epoll reactor, which calls doRead of a readable connection directly."""

    def doPoll(self, timeout: float | None) -> None:
        try:
            events = self._poller.poll(-1 if timeout is None else timeout, MOST_EVENTS)
        except OSError as error:
            if error.errno == EINTR:
                return
            raise
        selectables = self._selectables
        for fd, event in events:
            selectable: Any = selectables.get(fd)
            if selectable is None:
                continue
            if event != EPOLLIN:
                log.callWithLogger(selectable, self._doReadOrWrite, selectable, fd, event)
                continue
            try:
                why = selectable.doRead()
            except Exception as error:
                log.err()
                why = error
            if why:
                self._disconnectSelectable(selectable, why, True)

    doIteration = doPoll


class Plain(Protocol):
    """Answers to messages, sent by Twisted."""

    rest = b""
    transport: Any

    def connectionMade(self) -> None:
        self.transport.setTcpNoDelay(True)

    def dataReceived(self, segment: bytes) -> None:
        if not self.rest:
            try:
                message = read(segment)
            except msgspec.DecodeError:
                pass
            else:
                self.answer(message)
                return
        self.answer_some(self.rest + segment)

    def answer_some(self, stream: bytes) -> None:
        """Answer the messages of a segment that is not exactly one; the generator's strings have no braces."""
        begin = depth = 0
        for position, byte in enumerate(stream):
            depth += (byte == ord("{")) - (byte == ord("}"))
            if not depth and byte == ord("}"):
                self.answer(read(stream[begin : position + 1]))
                begin = position + 1
        self.rest = stream[begin:]

    def answer(self, message: Any) -> None:
        """Answer one message."""
        if message["hostid"]:
            self.send(ANSWERS[message["method"]])

    def send(self, answer: bytes) -> None:
        """Send an answer as Twisted does."""
        self.transport.write(answer)


class Tuned(Plain):
    """Answers to messages, sent at once."""

    def connectionMade(self) -> None:
        super().connectionMade()
        self.transport.bufferSize = READ_BUFFER_BYTES

    def send(self, answer: bytes) -> None:
        transport = self.transport
        count = 0
        if not (transport.dataBuffer or transport._tempDataBuffer or transport.disconnecting):
            try:
                count = transport.socket.send(answer)
            except OSError:
                count = 0  # the transport will see why
        if count != len(answer):
            transport.write(answer[count:])


def main() -> None:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    tuned = "tuned" in sys.argv
    reactor: Any = (DirectReactor if tuned else epollreactor.EPollReactor)()
    installReactor(reactor)
    factory = Factory.forProtocol(Tuned if tuned else Plain)
    factory.noisy = False
    reactor.listenTCP(int(sys.argv[1]), factory, backlog=4096, interface="127.0.0.1")
    reactor.run()


if __name__ == "__main__":
    main()
