"""Presence: sessions of a device come and go."""

from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from cmmd.fleet.devices.presence import MOST_STANDING, Presence
from cmmd.fleet.events import Events
from cmmd.store.records import Event
from cmmd.wire.messages import Reset, ResetAnswer, WriteConfig, WriteConfigAnswer


class Connection:
    """A session that takes itself out when it is closed, as real ones do."""

    peer = "192.0.2.7"

    def __init__(self, presence: Presence, hostid: str = "A", *, carries_commands: bool = True) -> None:
        self.carries_commands = carries_commands
        self._presence = presence
        self._hostid = hostid
        presence.attach(hostid, self)

    def close(self) -> None:
        self._presence.detach(self._hostid, self)

    def round_trip(
        self, message: WriteConfig | Reset, timeout_s: float, leaves: Callable[[], bool]
    ) -> Deferred[WriteConfigAnswer | ResetAnswer]:
        raise NotImplementedError


def new_presence(told: list[Event]) -> Presence:
    """One that tells its events to a list."""
    clock = Clock()
    return Presence(clock, Events(now=clock.seconds, clock=clock, keep=told.append, last_number=0))


class PresenceTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.told: list[Event] = []
        self.presence = new_presence(self.told)

    def test_nobody(self) -> None:
        self.assertEqual(len(self.presence), 0)
        self.assertFalse(self.presence.online("A"))
        self.assertIsNone(self.presence.carrier("A"))
        self.assertEqual(self.presence.sessions("A"), ())

    def test_newest_carries_commands(self) -> None:
        first = Connection(self.presence)
        second = Connection(self.presence)
        self.assertEqual(self.presence.sessions("A"), (first, second))
        self.assertIs(self.presence.carrier("A"), second)
        second.close()
        self.assertIs(self.presence.carrier("A"), first)

    def test_history_does_not_carry_commands(self) -> None:
        live = Connection(self.presence)
        Connection(self.presence, carries_commands=False)
        self.assertIs(self.presence.carrier("A"), live)
        live.close()
        self.assertFalse(self.presence.online("A"))
        self.assertIsNone(self.presence.carrier("A"))
        self.assertEqual((len(self.presence), self.presence.session_count), (0, 1))

    def test_history_does_not_push_out_who_carries_commands(self) -> None:
        live = Connection(self.presence)
        others = [Connection(self.presence, carries_commands=False) for _ in range(MOST_STANDING + 2)]
        self.assertIs(self.presence.carrier("A"), live)
        self.assertEqual(self.presence.sessions("A"), (live, *others[-MOST_STANDING + 1 :]))

    def test_events(self) -> None:
        """A device is online while it has a live session: others, older or for history, make no difference."""
        history = Connection(self.presence, carries_commands=False)
        first = Connection(self.presence)
        second = Connection(self.presence)
        first.close()
        self.assertEqual([event.kind for event in self.told], ["online"])
        second.close()
        history.close()
        Connection(self.presence)
        self.assertEqual([event.kind for event in self.told], ["online", "offline", "online"])
        self.assertEqual({event.hostid for event in self.told}, {"A"})
        self.assertEqual(self.told[0].details, {"address": "192.0.2.7", "suppressed": 0})

    def test_detaching_twice_or_a_stranger(self) -> None:
        first = Connection(self.presence)
        first.close()
        first.close()
        second = Connection(self.presence)
        self.presence.detach("A", first)
        self.assertEqual(self.presence.sessions("A"), (second,))

    @given(st.lists(st.tuples(st.sampled_from("AB"), st.integers(0, 9), st.booleans())))
    def test_any_coming_and_going(self, steps: list[tuple[str, int, bool]]) -> None:
        """Online is who has a live session; never more than four stand; an old one that ends takes nobody out."""
        presence = new_presence([])
        expected: dict[str, list[Connection]] = {"A": [], "B": []}
        for hostid, index, comes in steps:
            standing = expected[hostid]
            if comes:
                standing.append(Connection(presence, hostid))
                del standing[:-MOST_STANDING]
            elif index < len(standing):
                standing.pop(index).close()
            for one, sessions in expected.items():
                self.assertEqual(presence.sessions(one), tuple(sessions))
                self.assertEqual(presence.online(one), bool(sessions))
        self.assertEqual(presence.session_count, sum(map(len, expected.values())))
        self.assertEqual(len(presence), sum(map(bool, expected.values())))
