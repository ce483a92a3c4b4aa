"""The lenient decoder and the readers above it: any document is a message, or the peer's fault."""

import json

from cmmd.wire import lenient
from cmmd.wire.errors import PeerError
from cmmd.wire.reading import read_from_device, read_from_server, read_segment
from cmmd.wire.splitter import MAX_FRAME
from fuzz.harness import Escape, Target
from fuzz.words import JSON_WORDS, LARGE_DOCUMENTS, MESSAGE_WORDS

__all__ = ["TARGET"]


class LenientTarget(Target):
    """Takes a document, as a device's, as a server's, and as near-JSON alone."""

    INPUTS = 300
    LONGEST = MAX_FRAME
    WORDS = (*JSON_WORDS, *MESSAGE_WORDS)
    LARGE = LARGE_DOCUMENTS

    def run(self, script: bytes) -> None:
        for read in (read_from_device, read_from_server, read_segment):
            try:
                self.steps(read, script)
            except PeerError as error:
                str(error)
        try:
            found = self.steps(lenient.decode, script)
        except PeerError:
            return
        again = json.dumps(found).encode()
        if again.count(b",") + again.count(b":") <= lenient.MAX_VALUES and lenient.decode(again) != found:
            raise Escape(f"means another thing as strict JSON: {found}")


TARGET = LenientTarget
