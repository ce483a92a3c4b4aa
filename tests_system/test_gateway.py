"""The gateway beside Debian's mbpoll: both read the same of one controller."""

import shutil
from pathlib import Path
from tempfile import mkdtemp

from twisted.trial.unittest import SynchronousTestCase

from tests.daemon import until
from tests.emulator_process import polled_coils, polled_registers
from tests.gateway_chain import GatewayChain


class MbpollTests(SynchronousTestCase):
    def test_it_reads_what_the_gateway_uploaded(self) -> None:
        folder = Path(mkdtemp(prefix="cmmd-mbpoll-"))
        self.addCleanup(shutil.rmtree, folder)
        chain = GatewayChain(folder)
        self.addCleanup(chain.end)
        chain.emulator.ask("mains", "blackout")
        chain.emulator.ask("freeze")
        chain.emulator.ask("advance", 90)  # on load: few registers are 0
        chain.start()
        until(chain.agrees, "cmmd knows what the controller shows")
        uploaded = chain.uploaded
        self.assertEqual(chain.gateway.terminate(), 0)  # it shares its port with nobody
        link = chain.emulator.link
        read = polled_coils(link, 0, 90), polled_registers(link, 0, 45), polled_registers(link, 46, 10)
        self.assertEqual(read, uploaded)
        self.assertGreater(sum(register > 0 for register in read[1]), 25)
