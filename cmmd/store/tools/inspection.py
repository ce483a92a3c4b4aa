"""Choose the inspector of the store that a URL names."""

from pathlib import Path

from cmmd.store.sqlite.inspector import SQLiteInspector
from cmmd.store.tools.stats import Inspector

__all__ = ["inspector_at"]


def inspector_at(url: str, folder: Path, password_file: Path | None = None) -> Inspector:
    """Choose the inspector of the store that a URL names.

    :param url: as for store_at. :param folder: the same. :param password_file: the same.
    :raises ValueError: there is no such store, or none that outlives its process; one line, without a password.
    """
    scheme, _, rest = url.partition(":")
    match scheme:
        case "sqlite" if rest:
            return SQLiteInspector(folder / rest)
        case "sqlite":
            raise ValueError("sqlite:FILE needs the file")
        case "postgresql" | "postgres":
            from cmmd.store.postgres.inspector import PostgresInspector  # slow to import

            return PostgresInspector(url, None if password_file is None else folder / password_file)
        case "memory":
            raise ValueError("memory: keeps nothing")
    raise ValueError(f"{scheme!r} is no store: sqlite:FILE or postgresql://... expected")
