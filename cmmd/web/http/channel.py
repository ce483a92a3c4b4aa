"""The one module that knows what Twisted's HTTPChannel keeps for itself.

Twisted has no public way to hold a request back, to see whether a transport is backed up, or to answer a bad request in
another form. Each private name is listed in PRIVATES and has one method here. When a new Twisted fails
``tests/test_privates.py``: look for the name's successor in ``twisted/web/http.py`` and change the method; where there
is none, the limits of ``cmmd.web.http.connections`` need another way, and setup.cfg an upper bound until then.
"""

from typing import Any

from twisted.web.http import HTTPChannel

__all__ = ["PRIVATES", "Channel"]

PRIVATES = (
    *("_handlingRequest", "_dataBuffer", "_waitingForTransport", "_optimisticEagerReadSize", "_networkProducer"),
    *("_savedTimeOut", "_transferDecoder", "_abortingCall", "_respondToBadRequestAndDisconnect", "_send100Continue"),
)
"""Attributes of HTTPChannel."""


class Channel(HTTPChannel):
    """An HTTPChannel whose private state has public names."""

    transport: Any

    @property
    def handles_request(self) -> bool:
        """Tell whether a request is complete and its answer is not."""
        return bool(self._handlingRequest)

    @property
    def backed_up(self) -> bool:
        """Tell whether the transport takes no more for now."""
        return bool(self._waitingForTransport)

    @property
    def holds_too_much(self) -> bool:
        """Tell whether Twisted holds more bytes of later requests than it reads ahead."""
        return sum(map(len, self._dataBuffer)) > self._optimisticEagerReadSize

    def receive_again(self) -> None:
        """Let the transport read."""
        self._networkProducer.resumeProducing()

    def receive_no_more(self) -> None:
        """Keep the transport from reading."""
        self._networkProducer.pauseProducing()

    def restart_timeout(self) -> None:
        """Count the idle time anew, which Twisted stops while a request is handled."""
        self.setTimeout(self._savedTimeOut)

    def limit_trailers(self, size: int) -> None:
        """Refuse a chunked body with more than so many bytes of fields behind it."""
        decoder: Any = self._transferDecoder
        decoder._maxTrailerHeadersSize = size

    def abort_after(self, seconds: float) -> None:
        """Close the connection, and abort it where that takes so long."""
        self.loseConnection()
        self._abortingCall = self.callLater(seconds, self.forceAbortClient)

    def forceAbortClient(self) -> None:
        """End the connection now."""
        self._abortingCall = None
        if self.transport is not None:
            self.transport.abortConnection()

    def bad_request(self) -> None:
        """Answer what is no HTTP; to be overridden."""
        super()._respondToBadRequestAndDisconnect()

    def takes_expectation(self) -> bool:
        """Tell whether ``100 Continue`` is to be sent; to be overridden."""
        return True

    def _respondToBadRequestAndDisconnect(self) -> None:
        self.bad_request()

    def _send100Continue(self) -> None:
        if self.takes_expectation():
            super()._send100Continue()
