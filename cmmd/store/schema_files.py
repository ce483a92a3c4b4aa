"""The numbered SQL files in schema/, which a database has seen up to one of them."""

import re
from importlib import resources

__all__ = ["schema_files"]


def schema_files(backend: str) -> dict[int, str]:
    """Read the files ``BACKEND-NNNN.sql``, by number, in order."""
    found = {}
    for file in resources.files("cmmd.store").joinpath("schema").iterdir():
        if name := re.fullmatch(rf"{backend}-(\d{{4}})\.sql", file.name):
            found[int(name[1])] = file.read_text(encoding="utf-8")
    return dict(sorted(found.items()))
