"""One log line for each fault of a peer, its text made harmless, and not more than a log can bear."""

from collections import OrderedDict

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from cmmd.wire.quoting import quoted

__all__ = ["PeerLog"]

log = Logger()

BURST = 5
REFILL_S = 10.0
MOST_PEERS = 10_000


class _Allowance:
    __slots__ = ("last", "left", "suppressed")

    def __init__(self, now: float) -> None:
        self.left = float(BURST)
        self.last = now
        self.suppressed = 0


class PeerLog:
    """Logs faults: five at once and one every ten seconds for each address, the rest as a number.

    :param clock: for the time.
    """

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._allowances: OrderedDict[str, _Allowance] = OrderedDict()

    def fault(self, peer: str, what: str, said: str | bytes = b"") -> None:
        """Log one line, or count it.

        :param peer: the peer's address.
        :param what: our own words.
        :param said: the peer's, as they came.
        """
        now = self._clock.seconds()
        allowance = self._allowances.pop(peer, None) or _Allowance(now)
        self._allowances[peer] = allowance  # the newest last
        if len(self._allowances) > MOST_PEERS:
            self._allowances.popitem(last=False)
        allowance.left = min(allowance.left + (now - allowance.last) / REFILL_S, BURST)
        allowance.last = now
        if allowance.left < 1:
            allowance.suppressed += 1
            return
        allowance.left -= 1
        log.warn(
            "{peer}: {what}{said}{more}",
            peer=peer,
            what=what,
            said=f": {quoted(said)}" if said else "",
            more=f" ({allowance.suppressed} more like this not logged)" if allowance.suppressed else "",
        )
        allowance.suppressed = 0
