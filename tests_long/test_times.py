"""Bounds in seconds, on an idle machine: how soon the daemon ends, and how long devices wait beside abuse.

The other lanes run the same tests without these bounds, so that none of them depends on what else a machine does.
"""

from tests import test_commands, test_storm, test_web_surface
from tests_slow import test_abuse, test_surface

LONGEST_END_S = 5.0
LONGEST_WAIT_MS, LONGEST_OF_ALL_MS = 250.0, 1000.0
"""To the answer, for 99 % of the messages of well-behaved devices, and for all of them."""
LONGEST_WAIT_BESIDE_THOUSANDS_MS = 2000.0
"""The first of them beside 10,000 connections that come, and end, within seconds."""


class EndTests(test_surface.ManyEndsTests):
    """A daemon with connections of every kind."""

    longest_end_s = LONGEST_END_S


class WebEndTests(test_web_surface.EndTests):
    """A daemon with open streams of events."""

    longest_end_s = LONGEST_END_S


class StormEndTests(test_storm.StormTests):
    """A daemon with a fleet."""

    longest_end_s = LONGEST_END_S


class TimeoutTests(test_commands.MisbehaviourTests):
    """A command's end is not much later than its timeout."""

    longest_delay_s = 2.0


class HeavyTests(test_abuse.HeavyTests):
    """Well-behaved devices beside floods."""

    longest_wait_ms = LONGEST_WAIT_MS
    longest_ms = LONGEST_OF_ALL_MS


class HalfOpenTests(test_abuse.HalfOpenTests):
    """Well-behaved devices beside thousands of half-open connections."""

    longest_wait_ms = LONGEST_WAIT_BESIDE_THOUSANDS_MS
