"""Devices in a process of their own that answer every write at once, and remember what they were sent.

``python -m tests.answering_fleet PORT DEVICES`` registers the devices, attaches one long connection each and says
``ready``. A line on standard input is answered with all that was written to them since, as JSON: frames by hostid.
"""

import asyncio
import json
import sys
from collections import defaultdict

from tests.plain_device import login, message


async def _device(port: int, hostid: str, seen: dict[str, list[str]], attached: asyncio.Event) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(login(hostid))
    await reader.read()
    writer.close()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(message("LongCon", hostid))
    await reader.readuntil(b"}")
    attached.set()
    while True:
        order = json.loads(await reader.readuntil(b"}"))
        seen[hostid].append(order["result"])
        writer.write(message("writeConfig", hostid, params=f"{order['result']},1", uid=order["uid"]))


async def _main(port: int, count: int) -> None:
    seen: dict[str, list[str]] = defaultdict(list)
    lives = []
    for number in range(count):
        attached = asyncio.Event()
        lives.append(asyncio.create_task(_device(port, f"ANSWERS{number}", seen, attached)))
        await attached.wait()
    print("ready", flush=True)
    lines = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    while await lines.readline():
        print(json.dumps(seen), flush=True)
    for life in lives:
        life.cancel()


if __name__ == "__main__":
    asyncio.run(_main(int(sys.argv[1]), int(sys.argv[2])))
