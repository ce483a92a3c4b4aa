"""The splitter: any stream, cut anywhere, gives documents within the limits, the same ones as when it comes at once."""

from cmmd.wire.errors import FrameError
from cmmd.wire.splitter import MAX_FRAME, Splitter
from fuzz.harness import Escape, Target
from fuzz.words import LARGE_DOCUMENTS

__all__ = ["TARGET"]

SMALL_FRAME, SMALL_DEPTH = 256, 4
BYTES_A_RECEIVE = 4096
"""As ``cmmd.server.connection`` has it."""
CUT = b"\x1f"
"""Where the stream is cut. It is no part of the stream."""


class SplitterTarget(Target):
    """Takes a stream, whole and cut, with the usual limits and with small ones."""

    INPUTS = 300
    LONGEST = 96 * 1024
    WORDS = (
        CUT,
        b'{"',
        b'":"',
        b'"}',
        b"[[",
        b"]]",
        b"{{{{{{{{{{{{{{{{{",
        b'\\"',
        b"\xef\xbb\xbf",
        b"\x81\\",
        b"\xe4\xb8",
    )
    LARGE = (
        *LARGE_DOCUMENTS,
        b"".join(LARGE_DOCUMENTS[:3]),
        b"[" * MAX_FRAME,
        b"x" * MAX_FRAME,
        b'{"' * (MAX_FRAME // 2),
    )

    def run(self, script: bytes) -> None:
        segments = script.split(CUT)
        whole = b"".join(segments)
        for max_frame, max_depth, takes_strings in ((MAX_FRAME, 16, False), (SMALL_FRAME, SMALL_DEPTH, True)):
            cut = Splitter(max_frame, max_depth, take_strings=takes_strings)
            uncut = Splitter(max_frame, max_depth, take_strings=takes_strings)
            documents = []
            for segment in segments:
                for start in range(0, len(segment), BYTES_A_RECEIVE):
                    piece = segment[start : start + BYTES_A_RECEIVE]
                    documents += self.steps(self._taken, cut, piece, max_frame)
            if documents != self._taken(uncut, whole, max_frame):
                raise Escape(f"other documents where the stream is cut: {documents}")

    def _taken(self, splitter: Splitter, segment: bytes, max_frame: int) -> list[bytes]:
        splitter.feed(segment)
        taken: list[bytes] = []
        errors = 0
        while True:
            try:
                document = splitter.next_document()
            except FrameError:
                errors += 1
                if errors > len(segment) + max_frame:
                    raise Escape("more errors than bytes") from None
                continue
            if document is None:
                break
            if len(document) > max_frame:
                raise Escape(f"a document of {len(document)} bytes")
            taken.append(document)
        if splitter.pending > max_frame:
            raise Escape(f"{splitter.pending} bytes are held")
        return taken


TARGET = SplitterTarget
