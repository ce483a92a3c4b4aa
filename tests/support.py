"""What several test modules share: the vectors, ways to cut a stream, a free port."""

import json
import socket
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from hypothesis import strategies as st

REPOSITORY = Path(__file__).resolve().parent.parent
VECTORS = Path(__file__).resolve().parent / "vectors"


class Longest(Random):
    """No randomness: a back-off with it waits whole steps."""

    def uniform(self, a: float, b: float) -> float:
        return max(a, b)


@dataclass(frozen=True)
class Example:
    """One message of ``tests/vectors``.

    :ivar sender: ``device`` or ``server``.
    :ivar wire: the bytes, slips included.
    :ivar object: what they decode to.
    :ivar strict_json: whether a strict JSON parser takes them.
    :ivar means: what the frames in it say, where the vector tells.
    """

    name: str
    sender: str
    wire: bytes
    object: dict[str, Any]
    strict_json: bool
    means: dict[str, Any]


def _load(file_name: str) -> tuple[Example, ...]:
    printed = json.loads((VECTORS / file_name).read_text(encoding="utf-8"))
    return tuple(
        Example(
            name=one["name"],
            sender=one["from"],
            wire=one["wire"].encode(),
            object=one["object"] if "object" in one else json.loads(one["wire"]),
            strict_json=one.get("strict_json", True),
            means=one.get("means", {}),
        )
        for one in printed["examples"]
    )


DOCUMENT_EXAMPLES = _load("document.json")
FIELD_EXAMPLES = _load("field.json")
EXAMPLES = DOCUMENT_EXAMPLES + FIELD_EXAMPLES


def compact(value: object) -> bytes:
    """What a value is as strict, compact JSON in UTF-8, keys in their order."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


def cut(stream: bytes, places: Iterable[int]) -> Iterator[bytes]:
    """The stream in segments, cut at these places; places outside of it make empty segments."""
    start = 0
    for place in sorted(places):
        yield stream[start:place]
        start = max(start, place)
    yield stream[start:]


def byte_by_byte(stream: bytes) -> Iterator[bytes]:
    """The stream in segments of one byte."""
    return (stream[place : place + 1] for place in range(len(stream)))


def places(longest: int = 2000) -> st.SearchStrategy[list[int]]:
    """Strategy: where to :func:`cut`."""
    return st.lists(st.integers(0, longest), max_size=12)


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def load_cases(name: str) -> list[dict[str, Any]]:
    """The cases of one file of ``tests/vectors``."""
    cases: list[dict[str, Any]] = json.loads((VECTORS / f"{name}.json").read_text(encoding="utf-8"))["cases"]
    return cases
