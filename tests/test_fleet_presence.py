"""Presence: sessions of a device come and go."""

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from cmmd.fleet.presence import MOST_STANDING, Presence


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


class PresenceTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.presence = Presence(Clock())

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
        self.assertTrue(self.presence.online("A"))
        self.assertIsNone(self.presence.carrier("A"))

    def test_detaching_twice_or_a_stranger(self) -> None:
        first = Connection(self.presence)
        first.close()
        first.close()
        second = Connection(self.presence)
        self.presence.detach("A", first)
        self.assertEqual(self.presence.sessions("A"), (second,))

    @given(st.lists(st.tuples(st.sampled_from("AB"), st.integers(0, 9), st.booleans())))
    def test_any_coming_and_going(self, steps: list[tuple[str, int, bool]]) -> None:
        """Online is who has a session; never more than four stand; an old one that ends takes nobody out."""
        presence = Presence(Clock())
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
