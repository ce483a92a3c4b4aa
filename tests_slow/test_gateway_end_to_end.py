"""An emulated controller (pymodbus) on a pseudo-terminal, the gateway, and cmmd or a server that is not ours: all of
them real processes.

Every wait in here has its own limit, for trial's ``timeout`` cannot end what blocks.
"""

import os
import signal
import sqlite3
import time
from struct import unpack

from cmmd.stall_detector import STANDSTILL_S
from tests.control_world import Authority
from tests.daemon import Daemon, Sections, endpoint, service_port, until
from tests.emulator_process import EmulatorProcess
from tests.gateway_chain import HOSTID, GatewayChain, Polled, cmmctl, polled
from tests.gateway_process import GatewayProcess
from tests.independent_server import IndependentServer
from tests.test_gateway_end_to_end import AUTO, AUTO_FRAME, ChainTestCase

MANUAL, START, STOP = 4, 0, 1
STOP_FRAME = "00050001FF00DC2B"
"""Coils of commands (docs/controllers.md)."""

REFUSED, UNKNOWN = 1, 3
"""Exit statuses of cmmctl."""


class CmmdTests(ChainTestCase):
    """With our own server."""

    def test_a_controller_reports_and_obeys(self) -> None:
        chain = self.chain().start()
        emulator = chain.emulator

        # Values: at rest, and on load, where few registers are 0.
        emulator.ask("freeze")
        until(chain.agrees, "cmmd knows what the controller shows")
        emulator.ask("mains", "blackout")
        emulator.ask("advance", 90)
        until(chain.agrees, "cmmd knows what the running controller shows")
        self.assertGreater(sum(register > 0 for register in chain.uploaded[1]), 25)
        self.assertEqual(chain.live["engine_state"], "normal running")
        emulator.ask("mains", "normal")
        emulator.ask("thaw")

        # Commands: done and confirmed, and refused by the controller. Each reaches it once.
        for name in ("manual", "auto"):
            called = chain.cmmctl("send", HOSTID, name)
            self.assertEqual((called.status, called.said["outcome"], called.said["confirmed"]), (0, "done", True))
        self.assertEqual(called.said["reply"], f"{AUTO_FRAME},1")
        called = chain.cmmctl("write", HOSTID, "00050000FF008DEB")
        self.assertEqual((called.status, called.said["outcome"]), (REFUSED, "refused"))
        self.assertEqual(emulator.writes, [(MANUAL, True), (AUTO, True), (START, False)])
        chain.gateway.says("auto (00050003FF007DEB): done")
        chain.gateway.says("start (00050000FF008DEB): not done")

        # Port and baud rate: another speed is obeyed, kept, and told at the next login; what is no port is refused.
        self.assertEqual(chain.cmmctl("port", HOSTID, "--port", 3, "--baud", 9600).status, REFUSED)
        self.assertEqual(chain.cmmctl("port", HOSTID, "--port", 2, "--baud", 19200).said["outcome"], "done")
        until(lambda: emulator.ask("status")["gateway_baud"] == 19200, "the gateway speaks at 19200 bit/s")
        chain.gateway.says("no controller answers")
        emulator.ask("baud", 19200)
        emulator.ask("freeze")
        emulator.ask("advance", 300)
        until(chain.agrees, "values at 19200 bit/s")
        self.assertEqual(chain.gateway.terminate(), 0)
        chain.gateway.start()
        emulator.ask("advance", 300)
        until(chain.agrees, "values at 19200 bit/s after a restart")
        self.assertEqual(chain.cmmctl("show", HOSTID).said["device"]["module_baud"], 1)

        # Reset: it logs in again, and finds another speed in the answer, which it tells with one more login.
        chain.cmmctl("device", HOSTID, "set", "set-baud=9600")
        logins = chain.gateway.status["server"]["logins"]
        self.assertEqual(chain.cmmctl("reset", HOSTID).said["outcome"], "done")
        until(lambda: chain.gateway.status["server"]["logins"] == logins + 2, "it has logged in twice")
        until(lambda: emulator.ask("status")["gateway_baud"] == 9600, "the gateway speaks at 9600 bit/s again")
        emulator.ask("baud", 9600)
        until(lambda: chain.cmmctl("show", HOSTID).said["device"]["module_baud"] == 0, "cmmd knows")
        until(lambda: chain.live["online"], "it is online again")

        # The cable: out and in. The device stays online, and nothing is made up.
        emulator.ask("unplug")
        chain.gateway.says("the device is gone")
        until(lambda: not chain.gateway.status["controller"]["open"], "the port is closed")
        emulator.ask("advance", 300)
        self.assertTrue(chain.live["online"])
        emulator.ask("plug")
        until(chain.agrees, "values after the cable was plugged in again")
        self.assertEqual(emulator.writes, [(MANUAL, True), (AUTO, True), (START, False)])

        self.assertEqual(chain.gateway.terminate(), 0)
        self.assertNotIn("Traceback", chain.gateway.log + chain.daemon.log)
        self.assertNotIn("123456", chain.gateway.log + str(chain.gateway.status))

    def test_changes_and_outages(self) -> None:
        chain = self.chain(
            {"server": {"data_mode": 0}, "buffer": {"interval": 1}},
            {"history": {"interval": 86400}, "commands": {"timeout": 3}},
        )
        chain.start()
        self.assertEqual(chain.cmmctl("device", HOSTID, "set", "history=true").status, 0)
        emulator = chain.emulator
        until(lambda: chain.live.get("byte_order") == "big", "cmmd has found out how to read the changes")
        for seconds in (0, 60, 3600):
            emulator.ask("freeze")
            emulator.ask("advance", seconds)
            until(chain.agrees, "cmmd knows what the controller shows, by changes alone")
            emulator.ask("thaw")

        # An answer that never comes: the command is not sent again, and nobody claims to know.
        emulator.ask("mute")
        called = chain.cmmctl("send", HOSTID, "stop")
        self.assertEqual((called.status, called.said["outcome"]), (UNKNOWN, "timeout"))
        chain.gateway.says("it is unknown whether it was done")
        chain.gateway.says("no controller answers")
        emulator.ask("unmute")
        chain.gateway.says("the controller answers")
        self.assertEqual(emulator.writes, [(STOP, True)])

        # The gateway stands still, and an order with it: nobody knows what becomes of it, and it is not obeyed later.
        os.kill(chain.gateway.status["pid"], signal.SIGSTOP)
        time.sleep(STANDSTILL_S)
        called = chain.cmmctl("send", HOSTID, "manual")
        self.assertEqual((called.status, called.said["outcome"]), (UNKNOWN, "timeout"))
        os.kill(chain.gateway.status["pid"], signal.SIGCONT)
        chain.gateway.says("stood still")
        until(lambda: chain.live["online"], "it is online again")
        self.assertEqual(chain.cmmctl("send", HOSTID, "auto").said["outcome"], "done")
        self.assertEqual(emulator.writes, [(STOP, True), (AUTO, True)])

        # The server is away: what is polled meanwhile is history afterwards, at the time when it was.
        readings = self.readings(chain)
        chain.daemon.terminate()
        until(lambda: chain.gateway.status["buffer"]["waiting"] >= 2, "uploads wait in the buffer")
        chain.daemon.start()
        chain.gateway.says("kept uploads were sent as history")
        until(lambda: chain.gateway.status["buffer"]["waiting"] == 0, "the buffer is empty")
        chain.daemon.terminate()
        self.assertGreaterEqual(self.readings(chain), readings + 2)

    def readings(self, chain: GatewayChain) -> int:
        with sqlite3.connect(chain.daemon.state / "cmmd.sqlite") as store:
            (count,) = store.execute("SELECT count(*) FROM reading").fetchone()
        return int(count)


class TLSTests(ChainTestCase):
    def test_only_to_whom_is_known(self) -> None:
        """Modules without TLS at one port, gateways with it at the other. A gateway that expects somebody else tells
        nothing, and its log says why."""
        folder = self.folder()
        ours, foreign = Authority(folder), Authority(folder, "foreign")
        files = ours.issue("server", host="localhost")
        plain, secure = service_port(), service_port()
        with_tls = f"ssl:{secure}:interface=127.0.0.1:privateKey={files.key}:certKey={files.certificate}"
        roles = {role: [endpoint(plain), with_tls] for role in ("login", "live", "historic")}
        daemon = Daemon(folder, {"server": roles, "control": {"listen": ["unix:control.sock:mode=600"]}})
        self.addCleanup(daemon.kill)
        daemon.start([plain, secure])

        def gateway(name: str, login: str, **tls: object) -> GatewayProcess:
            sections: Sections = {
                "device": {"hostid": HOSTID},
                "server": {"login": login},
                "server.tls": {"enabled": True, **tls},
                "serial": {"rs485": str(folder / "tty")},
            }
            made = GatewayProcess(folder / name, sections)
            self.addCleanup(made.kill)
            return made.start()

        for name, login, tls, why in (
            ("ca", f"localhost:{secure}", {"ca": str(foreign.certificate)}, "certificate verify failed"),
            ("name", f"127.0.0.1:{secure}", {"ca": str(ours.certificate)}, "(127.0.0.1 was expected)"),
            ("system", f"localhost:{secure}", {}, "certificate verify failed"),
            ("no_tls", f"localhost:{plain}", {"ca": str(ours.certificate)}, "Connection lost."),
        ):
            stranger = gateway(name, login, **tls)
            stranger.says(why)
            self.assertEqual(stranger.terminate(), 0)
            self.assertNotIn("Traceback", stranger.log)
        self.assertEqual(cmmctl(daemon.state, "devices").said, [])

        friend = gateway("friend", f"localhost:{secure}", ca=str(ours.certificate))
        friend.says("is online")
        self.assertEqual(cmmctl(daemon.state, "reset", HOSTID).said["outcome"], "done")
        friend.says("is online", 2)
        self.assertIs(friend.status["server"]["tls"], True)
        self.assertEqual(friend.terminate(), 0)
        self.assertNotIn("Traceback", friend.log + daemon.log)


class IndependentTests(ChainTestCase):
    """With a server that is not ours."""

    def test_a_controller_reports_and_obeys(self) -> None:
        server = IndependentServer()
        self.addCleanup(server.stop)
        folder = self.folder()
        emulator = EmulatorProcess(folder).wait_until_plugged()
        self.addCleanup(emulator.terminate)
        emulator.ask("freeze")
        switch = folder / "inhibit"
        switch.write_text("0")
        gateway = GatewayProcess(
            folder / "gateway",
            {
                "device": {"hostid": HOSTID},
                "server": {"login": f"127.0.0.1:{server.port}", "type": "other"},
                "serial": {"rs485": str(emulator.link)},
                "inputs.inhibit": {"source": f"file:{switch}"},
            },
        )
        self.addCleanup(gateway.kill)
        gateway.start()
        for method in ("login", "LongCon", "timing", "HB", "reqdata", "reqdatachange"):
            until(lambda: server.of(method), method)  # noqa: B023 - called before the next turn
        inputs = {"method": "reqdatachange", "params": {}, "hostid": HOSTID, "InhbitRemote": 0}
        self.assertEqual(server.of("reqdatachange")[0], inputs)
        params = server.of("login")[0]["params"]
        self.assertEqual((params["hostid"], params["modulePort"], params["moduleBaud"]), (HOSTID, 2, 0))
        self.assertEqual(told(server), polled(emulator.coils, emulator.registers))

        def answered(frames: str, frame: str = AUTO_FRAME) -> None:
            before = len(server.of("writeConfig"))
            server.write_config(frame)
            until(lambda: len(server.of("writeConfig")) > before, "the answer to a write")
            expected = {"method": "writeConfig", "params": frames, "hostid": HOSTID, "uid": "action"}
            self.assertEqual(server.of("writeConfig")[-1], expected)

        answered(f"{AUTO_FRAME},1")
        switch.write_text("1")
        answered(f"{AUTO_FRAME},0")
        switch.unlink()
        answered(f"{AUTO_FRAME},0")
        self.assertEqual(emulator.writes, [(AUTO, True)])
        until(lambda: [one["InhbitRemote"] for one in server.of("reqdatachange")][-1:] == [1], "the inputs")
        answered(f"{STOP_FRAME},1", STOP_FRAME)  # it passes all the same
        self.assertEqual(emulator.writes, [(AUTO, True), (STOP, True)])
        self.assertIn("passed on despite the inhibit input", gateway.log)
        switch.write_text("0")
        until(lambda: [one["InhbitRemote"] for one in server.of("reqdatachange")][-1:] == [0], "the inputs")

        server.write_port(2, 1, uid="wiring")
        until(lambda: server.of("writeConfig")[-1].get("moduleBaud") == 1, "the answer to another wiring")
        server.reset()
        until(lambda: len(server.of("LongCon")) == 2, "it is back after a reset")
        self.assertEqual(server.of("reset"), [{"method": "reset", "hostid": HOSTID}])
        self.assertEqual(server.of("login")[1]["params"]["moduleBaud"], 1)
        server.hang_up()
        until(lambda: len(server.of("LongCon")) == 3, "it is back after its connection was lost")
        self.assertEqual(gateway.terminate(), 0)
        self.assertEqual(server.garbled, [])
        self.assertNotIn("Traceback", gateway.log)

    def test_changes(self) -> None:
        """Its login answer says nothing of a data mode: the gateway's configuration does."""
        server = IndependentServer()
        self.addCleanup(server.stop)
        folder = self.folder()
        emulator = EmulatorProcess(folder).wait_until_plugged()
        self.addCleanup(emulator.terminate)
        emulator.ask("freeze")
        gateway = GatewayProcess(
            folder / "gateway",
            {
                "device": {"hostid": HOSTID},
                "server": {"login": f"127.0.0.1:{server.port}", "type": "other", "data_mode": 0},
                "serial": {"rs485": str(emulator.link)},
            },
        )
        self.addCleanup(gateway.kill)
        gateway.start()
        until(lambda: server.of("reqdata"), "a full set")
        emulator.ask("mains", "blackout")
        emulator.ask("advance", 90)
        until(lambda: told(server) == polled(emulator.coils, emulator.registers), "what the running controller shows")
        numbers = [one["params"]["packetnum"] for one in server.of("reqdatachange")]
        self.assertEqual((len(server.of("reqdata")), numbers), (1, list(range(1, len(numbers) + 1))))
        self.assertGreater(len(numbers), 0)
        self.assertEqual(gateway.terminate(), 0)
        self.assertEqual(server.garbled, [])
        self.assertNotIn("Traceback", gateway.log)


def told(server: IndependentServer) -> Polled:
    """What somebody who has read the protocol knows of what was uploaded: the last full set, and the changes since."""
    coils, registers = [0] * 96, [0] * 96
    for message in server.told:
        if message["method"] == "reqdata":
            bits, low, high = (bytes.fromhex(frame)[3:-2] for frame in message["params"].split(";"))
            coils[:90] = [bits[place // 8] >> place % 8 & 1 for place in range(90)]
            registers[:45], registers[46:56] = unpack(">45H", low), unpack(">10H", high)
        elif message["method"] == "reqdatachange":
            for place, value in ((int(p, 16), v) for item in message["params"].get("01", []) for p, v in item.items()):
                for bit in range(4 * len(value)):
                    coils[place + bit] = int.from_bytes(bytes.fromhex(value), "little") >> bit & 1
            for place, value in ((int(p, 16), v) for item in message["params"].get("03", []) for p, v in item.items()):
                (registers[place],) = unpack(">H", bytes.fromhex(value))
    return polled(coils, registers)
