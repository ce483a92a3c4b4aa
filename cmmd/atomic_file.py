"""Small files that survive a power cut: the old text or the new one, never half of one."""

import os
from contextlib import suppress
from pathlib import Path

__all__ = ["sync_folder", "write_kept"]


def write_kept(path: Path, text: str, *, mode: int = 0o640, durable: bool = True) -> None:
    """Put a text in place of what a file holds.

    :param mode: who may read it.
    :param durable: whether it is on the disk when this returns; False: some time later, which is kinder to flash.
    :raises OSError: that is impossible; the file is as it was.
    """
    fresh = path.with_name(f"{path.name}.new")
    with suppress(FileNotFoundError):
        fresh.unlink()
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "w", encoding="utf-8") as file:
        file.write(text)
        if durable:
            file.flush()
            os.fsync(file.fileno())
    fresh.replace(path)
    if durable:
        sync_folder(path.parent)  # the new name, too


def sync_folder(folder: Path) -> None:
    """Have the names in a folder survive a power cut.

    :raises OSError: that is impossible.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
