"""Weigh observations for and against the readings of one hypothesis, in one integer a hypothesis.

A decided hypothesis costs a device nothing of its own: states are small integers, and the tuple of a device's states
is shared by all devices that have the same. The layout of a state, from the lowest bits on: decided choice plus one
(4), uploads against it (4), how often it was re-opened (4), whether no evidence counts (1), votes from bit 16 on, by
choice, 4 each.
"""

from collections.abc import Sequence

__all__ = [
    "AGAIN",
    "AGAINST",
    "DECISIVE",
    "ENOUGH",
    "MOST_CHOICES",
    "OPEN",
    "decided_choice",
    "decided_state",
    "doubted",
    "is_fixed",
    "opened",
    "reopenings",
    "settled_choice",
    "votes_for",
    "weigh",
    "weighing",
]

ENOUGH = 3
"""Uploads that must speak for a choice, more than for any other, to decide a hypothesis."""

AGAIN = 5
"""The same for a hypothesis that was re-opened: what has changed its mind once needs more."""

AGAINST = 3
"""Uploads against a decided choice, less those for it, that re-open the hypothesis."""

DECISIVE = 2 * AGAIN
"""The weight of one observation that decides alone, whatever was seen before."""

MOST_CHOICES = 8

OPEN = 0
"""The state of a hypothesis about which nothing is known."""

_MOST = 15
_AGAINST_SHIFT, _REOPENED_SHIFT, _FIXED, _VOTES_SHIFT = 4, 8, 1 << 12, 16


def decided_state(choice: int, *, reopened: int = 0, fixed: bool = False) -> int:
    """Make the state of a decided hypothesis.

    :param fixed: an administrator, or the profile, has decided: no evidence counts.
    """
    return choice + 1 | min(reopened, _MOST) << _REOPENED_SHIFT | (_FIXED if fixed else 0)


def opened(state: int) -> int:
    """Re-open a hypothesis, and forget the votes for an open one. What is fixed stays."""
    if state & _FIXED:
        return state
    return min(reopenings(state) + bool(state & 15), _MOST) << _REOPENED_SHIFT


def settled_choice(state: int) -> int | None:
    """Give the choice by which values are read now; None: open, or decided and contradicted just now."""
    return (state & 15) - 1 if state & 15 and not state >> _AGAINST_SHIFT & 15 else None


def decided_choice(state: int) -> int | None:
    """Give the choice that is decided, whether it was contradicted since or not; None: open."""
    return (state & 15) - 1 if state & 15 else None


def weighing(state: int) -> bool:
    """Tell whether observations have come that have not decided anything, for an open hypothesis or against another."""
    return not state & _FIXED and bool(state >> _VOTES_SHIFT or state >> _AGAINST_SHIFT & 15)


def doubted(state: int) -> bool:
    """Tell whether a choice is decided and was contradicted since."""
    return bool(state >> _AGAINST_SHIFT & 15)


def is_fixed(state: int) -> bool:
    """Tell whether evidence does not count."""
    return bool(state & _FIXED)


def reopenings(state: int) -> int:
    """Count how often the hypothesis was re-opened, up to 15."""
    return state >> _REOPENED_SHIFT & 15


def votes_for(state: int, choice: int) -> int:
    """Count the uploads that speak for a choice of an open hypothesis, over and above those for others."""
    return state >> _VOTES_SHIFT + 4 * choice & 15


def weigh(state: int, vote: int | None, weight: int = 1) -> int:
    """Take one observation in.

    :param vote: the choice that an upload speaks for; None: for none clearly, which changes nothing.
    :param weight: :data:`DECISIVE` for an observation that decides alone.
    :return: the state after it: decided where it was open and the votes reach the threshold, open again where it was
        decided and :data:`AGAINST` is reached.
    """
    if vote is None or state & _FIXED:
        return state
    if state & 15:
        return _on_trial(state, vote)
    votes = [votes_for(state, choice) for choice in range(MOST_CHOICES)]
    left = weight
    for other in range(MOST_CHOICES):  # a vote first removes one for another choice
        if other != vote:
            taken = min(votes[other], left)
            votes[other] -= taken
            left -= taken
    votes[vote] = min(votes[vote] + left, _MOST)
    if votes[vote] >= (AGAIN if reopenings(state) and weight < DECISIVE else ENOUGH):
        return decided_state(vote, reopened=reopenings(state))
    return _with_votes(reopenings(state) << _REOPENED_SHIFT, votes)


def _on_trial(state: int, vote: int) -> int:
    against = state >> _AGAINST_SHIFT & 15
    if vote == (state & 15) - 1:
        return state - (1 << _AGAINST_SHIFT) if against else state
    if against + 1 < AGAINST:
        return state + (1 << _AGAINST_SHIFT)
    votes = [0] * MOST_CHOICES
    votes[vote] = AGAINST
    return _with_votes(opened(state), votes)


def _with_votes(state: int, votes: Sequence[int]) -> int:
    for choice, count in enumerate(votes):
        state |= count << _VOTES_SHIFT + 4 * choice
    return state
