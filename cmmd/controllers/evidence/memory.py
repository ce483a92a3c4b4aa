"""Remember how the hypotheses about a device were decided, when and by what; and what an administrator has set."""

from collections.abc import Mapping, Sequence

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from cmmd.controllers.evidence.hypotheses import BYTE_ORDER, Hypothesis
from cmmd.controllers.evidence.weighing import OPEN, decided_state, is_fixed

__all__ = ["Remembered", "byte_order_of", "history_read", "only_byte_order", "overrides_in", "recalled"]
__all__ += ["reopened_times", "states_of", "with_entry", "with_history_read"]

_HISTORY = "*"
"""In the place of a hypothesis, which never has this name: how far history was decoded anew."""


class Remembered(Struct, frozen=True, array_like=True):
    """The last decision about a hypothesis.

    :ivar choice: empty: it is open again. :ivar upload: the running number of the upload that decided it.
    :ivar at: when that came, milliseconds UTC. :ivar because: what it said. :ivar reopened: how often it was re-opened.
    :ivar reopened_at: when it was last re-opened, milliseconds UTC; 0: never.
    """

    choice: str
    upload: int = 0
    at: int = 0
    because: str = ""
    reopened: int = 0
    reopened_at: int = 0


_DECODER = msgspec.json.Decoder(dict[str, Remembered])


def recalled(text: str) -> dict[str, Remembered]:
    """Read the memory of a device; empty where it cannot be read: the evidence comes again."""
    if not text:
        return {}
    try:
        return _DECODER.decode(text)
    except msgspec.MsgspecError:
        return {}


def _text(memory: Mapping[str, Remembered]) -> str:
    return msgspec.json.encode(memory).decode() if memory else ""


def with_entry(text: str, name: str, entry: Remembered) -> str:
    """Give the memory with another entry for one hypothesis; when it was last re-opened is kept."""
    memory = recalled(text)
    before = memory.get(name)
    reopened_at = entry.at if not entry.choice else 0 if before is None else before.reopened_at
    return _text({**memory, name: replace(entry, reopened_at=reopened_at)})


def with_history_read(text: str, decided: str) -> str:
    """Give the memory with what was decided when the device's history was last decoded anew to its end."""
    return _text({**recalled(text), _HISTORY: Remembered(decided)})


def history_read(text: str) -> str:
    """Give what :func:`with_history_read` noted; empty: nothing."""
    entry = recalled(text).get(_HISTORY)
    return "" if entry is None else entry.choice


def reopened_times(text: str) -> dict[str, int]:
    """Give when hypotheses were last re-opened, milliseconds UTC, by name; those that never were are left out."""
    return {name: entry.reopened_at for name, entry in recalled(text).items() if entry.reopened_at}


def only_byte_order(text: str) -> str:
    """Give what is left of the memory with another controller: the byte order is the module's."""
    return _text({name: entry for name, entry in recalled(text).items() if name == BYTE_ORDER})


def overrides_in(text: str | None) -> dict[str, str]:
    """Read what an administrator has set: ``byte_order=big, scale=tenths``.

    :return: choices by hypothesis.
    :raises ValueError: it is something else.
    """
    found: dict[str, str] = {}
    for part in (text or "").split(","):
        if part.strip():
            name, equals, choice = (one.strip() for one in part.partition("="))
            if not equals or not name or not choice or name in found:
                raise ValueError(f"{part.strip()!r} is no NAME=CHOICE")
            found[name] = choice
    return found


def byte_order_of(overrides: str | None) -> str | None:
    """Give the byte order that an administrator has set; None: none."""
    try:
        return overrides_in(overrides).get(BYTE_ORDER)
    except ValueError:
        return None


def states_of(
    hypotheses: Sequence[Hypothesis], text: str, overrides: str | None, now: Sequence[int] | None = None
) -> tuple[int, ...]:
    """Give the states of a device's hypotheses.

    :param text: its memory; :param overrides: see :func:`overrides_in`.
    :param now: the states so far, which are newer than the memory; None: there are none.
    """
    memory = recalled(text)
    try:
        said = overrides_in(overrides)
    except ValueError:
        said = {}
    states = []
    for place, hypothesis in enumerate(hypotheses):
        choice = said.get(hypothesis.name)
        entry = memory.get(hypothesis.name)
        if choice in hypothesis.choices:
            states.append(decided_state(hypothesis.choices.index(choice), fixed=True))
        elif now is not None and not is_fixed(now[place]):
            states.append(now[place])
        elif entry is not None and entry.choice in hypothesis.choices:
            states.append(decided_state(hypothesis.choices.index(entry.choice), reopened=entry.reopened))
        else:
            states.append(OPEN if entry is None else min(entry.reopened, 15) << 8)
    return tuple(states)
