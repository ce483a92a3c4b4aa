"""One log line for each fault of a peer, its text made harmless, and not more than a log should hold."""

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from cmmd.fleet.counters.log_throttle import LogLimit
from cmmd.wire.quoting import quoted

__all__ = ["PeerLog"]

log = Logger()


class PeerLog:
    """Logs faults, as many for each address as its LogLimit allows.

    :param clock: for the time.
    """

    def __init__(self, clock: IReactorTime) -> None:
        self._limit = LogLimit(clock)

    def fault(self, peer: str, what: str, said: str | bytes = b"") -> None:
        """Log one line, or count it.

        :param peer: the peer's address.
        :param what: our own words.
        :param said: the peer's, as they came.
        """
        more = self._limit.allows(peer)
        if more is not None:
            text = f": {quoted(said)}" if said else ""
            log.warn("{peer}: {what}{said}{more}", peer=peer, what=what, said=text, more=more)
