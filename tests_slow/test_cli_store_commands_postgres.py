"""Larger copies to PostgreSQL, and those that are killed again and again."""

from typing import Any

from tests import test_cli_store_commands_postgres as short
from tests.control_world import until
from tests.test_cli_store_commands import HERE


class LargeInterruptedCopyTests(short.InterruptedCopyTests):
    readings = 10_000

    async def test_killed_again_and_again(self) -> None:
        await self.many()
        for come in (1000, 4000, 7000):
            process = self.spawn("--state", str(self.state), "store", "copy", HERE, self.url)

            def far_enough(come: int = come, process: Any = process) -> bool:
                return process.ended.called or self.come() >= come

            await until(far_enough)
            self.assertFalse(process.ended.called, process.err)
            process.transport.signalProcess("KILL")
            await process.ended
        process = self.spawn("--state", str(self.state), "store", "copy", HERE, self.url)
        self.assertEqual(await process.ended, 0, process.err)
        await self.assert_copied()
