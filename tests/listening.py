"""The TCP ports that a process listens at, from Linux's tables. Knows nothing of trial."""

from contextlib import suppress
from pathlib import Path

__all__ = ["listening_ports"]

_LISTEN = "0A"  # TCP_LISTEN of the kernel, as /proc/net/tcp has it


def listening_ports(pid: int) -> list[int]:
    """The ports of a process, IPv4 and IPv6, each once."""
    inodes = set()
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # it was closed meanwhile
            inodes.add(str(descriptor.readlink()))
    ports = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/{pid}/net/{table}").read_text(encoding="ascii").splitlines()[1:]:
            _, local, _, state, *_, inode = line.split()[:10]
            if state == _LISTEN and f"socket:[{inode}]" in inodes:
                ports.add(int(local.rpartition(":")[2], 16))
    return sorted(ports)
