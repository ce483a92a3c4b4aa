"""The options of ``twistd cmmd`` and what makeService wires up."""

import json
import socket
import stat
from pathlib import Path
from typing import Any, cast

from msgspec.structs import replace
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python import usage
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase

from cmmd import parts, process, tap
from cmmd.config import Config, ConfigError, Control, Controllers, ControlTLS, Server, Store, Web
from cmmd.process import StartFailed, StateInUse, lock_state
from cmmd.server.listeners import Listener, Role
from cmmd.server.login import Advertised
from cmmd.store.memory import MemoryStore
from cmmd.store.outbox.spooled import SpooledStore
from cmmd.store.sqlite.store import SQLiteStore
from cmmd.tap import Options
from tests.control_world import folder
from tests.daemon import endpoint, service_port
from tests.web_client import get

log = Logger()

HERE = "tcp:0:interface=127.0.0.1"
LOCAL = Server(login=[HERE], live=[HERE], historic=[HERE])


class OptionsTests(TestCase):
    def test_defaults(self) -> None:
        options = Options()
        options.parseOptions([])
        self.assertEqual(options.settings, Config())
        self.assertEqual(options.state, Path("var").absolute())

    def test_config_and_state(self) -> None:
        file = Path(self.mktemp())
        file.write_text("[history]\ninterval = 5\n")
        options = Options()
        options.parseOptions(["--config", str(file), "--state", "/nowhere"])
        self.assertEqual(options.settings.history.interval, 5.0)
        self.assertEqual(options.state, Path("/nowhere"))

    def test_what_is_wrong_ends_the_process(self) -> None:
        file = Path(self.mktemp())
        file.write_text("[server]\nidle = 5\n")
        for arguments, said in (
            (["--config", str(file)], "server.idle: unknown key"),
            (["--config", str(file) + "x"], "No such file"),
            (["--colour"], "--colour"),
            (["something"], "'something' is not an option"),
        ):
            error = self.assertRaises(SystemExit, Options().parseOptions, arguments)
            self.assertTrue(str(error).startswith("cmmd: "), error)
            self.assertIn(said, str(error))
            self.assertNotIn("\n", str(error))

    def test_version(self) -> None:
        error = self.assertRaises(SystemExit, Options().parseOptions, ["--version"])
        self.assertEqual(error.code, 0)

    def test_pidfile_in_the_foreground(self) -> None:
        parent = usage.Options()
        parent.update({"nodaemon": 1, "pidfile": "twistd.pid"})
        options = Options()
        options.parent = parent
        options.parseOptions([])
        self.assertEqual(parent["pidfile"], "")


class WiringTests(TestCase):
    def server(self, settings: Config, state: Path | None = None) -> tap.Server:
        if settings.web == Web():
            settings = replace(settings, web=Web(listen=[HERE]))
        server = tap.Server(settings, state or Path(self.mktemp()), cast("Any", reactor))
        # The threads of a store that a failed test has left would keep the test run from ending.
        self.addCleanup(lambda: server.stopService() if server.running else None)
        return server

    async def test_starts_and_stops(self) -> None:
        server = self.server(Config(server=LOCAL))
        server.startService()
        self.assertEqual(len(cast("Any", server._sessions)._ports), 1)
        await server.stopService()
        server.startService()
        await server.stopService()

    async def test_our_bugs_are_counted(self) -> None:
        server = self.server(Config(server=LOCAL))
        server.startService()
        assert server._web is not None
        url = f"http://127.0.0.1:{cast('Any', server._web.ports[0].getHost()).port}"
        self.patch(cast("Any", server.fleet).registry, "device", lambda _: 1 // 0)
        self.assertEqual((await get(f"{url}/api/v1/devices/any")).code, 500)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertIn("cmmd_bugs_total 1.0\n", (await get(f"{url}/metrics")).text)
        self.assertEqual(json.loads((await get(f"{url}/api/v1/status")).body)["bugs"], 1)
        await server.stopService()
        log.failure("nobody counts any more", Failure(ZeroDivisionError()))
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertEqual(server.counters.bugs, 1)

    async def test_two_in_one_process(self) -> None:
        first, second = self.server(Config(server=LOCAL)), self.server(Config(server=LOCAL))
        first.startService()
        second.startService()
        self.assertIsNot(first.counters, second.counters)
        await first.stopService()
        await second.stopService()

    async def test_state_in_use(self) -> None:
        state = Path(self.mktemp())
        first, second = self.server(Config(server=LOCAL), state), self.server(Config(server=LOCAL), state)
        first.startService()
        self.assertIn("in use", str(self.assertRaises(SystemExit, second.startService)))
        await first.stopService()

    async def test_state_is_kept_until_the_store_has_closed(self) -> None:
        state = Path(self.mktemp())
        server = self.server(Config(server=LOCAL), state)
        server.startService()
        closing: Deferred[None] = Deferred()
        close = server._store.close
        self.patch(server._store, "close", lambda: closing.addCallback(lambda _: close()))
        stopped = server.stopService()
        await deferLater(cast("Any", reactor), 0)
        self.assertNoResult(stopped)
        self.assertRaises(StateInUse, lock_state, state)
        closing.callback(None)
        await stopped
        lock_state(state).close()

    async def test_unfinished_copy(self) -> None:
        """Who wrote to it would end the copy; nothing claims it, either."""
        state = Path(self.mktemp())
        state.mkdir()
        store = SQLiteStore(state / "cmmd.sqlite", cast("Any", reactor))
        await store.open()
        await store.claim("copy of abc")
        await store.close()
        server = self.server(Config(server=LOCAL), state)
        self.assertIn("an unfinished copy", str(self.assertRaises(SystemExit, server.startService)))
        await deferLater(cast("Any", reactor), 0)
        self.assertEqual((await store.open()).writer, "copy of abc")
        await store.close()

    async def test_port_in_use(self) -> None:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            endpoint = f"tcp:{taken.getsockname()[1]}:interface=127.0.0.1"
            server = self.server(Config(server=Server(login=[HERE], live=[endpoint])))
            said = str(self.assertRaises(SystemExit, server.startService))
            self.assertIn(f"server.live: {endpoint}: ", said)
            self.assertIn("Address already in use", said)

    async def test_door_in_use(self) -> None:
        """A failed start leaves nothing behind that listens."""
        state = Path(self.mktemp())
        state.mkdir()
        (state / "control.sock").touch()
        port = service_port()
        here = [endpoint(port)]
        settings = Config(server=Server(login=here, live=here, historic=here))
        server = self.server(settings, state)
        self.assertIn("control.sock is there and no socket", str(self.assertRaises(SystemExit, server.startService)))
        await deferLater(cast("Any", reactor), 0)
        self.assertRaises(ConnectionRefusedError, socket.create_connection, ("127.0.0.1", port))

    async def test_failed_start_in_the_background(self) -> None:
        state = Path(self.mktemp())
        state.touch()
        server = tap.Server(Config(server=LOCAL), state, cast("Any", reactor), foreground=False)
        self.assertRaises(StartFailed, server.startService)

    async def test_web_port_in_use(self) -> None:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            endpoint = f"tcp:{taken.getsockname()[1]}:interface=127.0.0.1"
            server = self.server(Config(server=LOCAL, web=Web(listen=[HERE, endpoint])))
            self.assertIn(f"web: {endpoint}: ", str(self.assertRaises(SystemExit, server.startService)))

    async def test_sockets_are_in_the_state_directory(self) -> None:
        """Wherever the daemon was started; and not everybody's."""
        state = folder(self)
        here = ["unix:devices.sock"]
        settings = Config(
            server=Server(login=here, live=here, historic=here),
            web=Web(listen=["unix:web.sock", "unix:open.sock:mode=666"]),
        )
        server = self.server(settings, state)
        server.startService()
        modes = {one.name: stat.S_IMODE(one.lstat().st_mode) for one in state.glob("*.sock") if one.is_socket()}
        self.assertEqual(modes, {"devices.sock": 0o660, "web.sock": 0o660, "open.sock": 0o666, "control.sock": 0o600})
        await server.stopService()

    async def test_endpoint_that_waits(self) -> None:
        server = self.server(Config(server=LOCAL))
        endpoint = type("Endpoint", (), {"listen": lambda _self, _factory: Deferred()})()
        server._listeners = [Listener("odd", endpoint, frozenset(Role))]
        self.assertIn("at once", str(self.assertRaises(SystemExit, server.startService)))

    async def test_endpoints_of_a_role_are_advertised(self) -> None:
        other = "tcp:0:interface=127.0.0.2"
        server = self.server(Config(server=Server(login=[other, HERE], live=[HERE, other], historic=[other])))
        advertised = Advertised()
        self.patch(tap, "Advertised", lambda *_: advertised)
        server.startService()
        sessions = cast("Any", server._sessions)
        self.assertEqual(advertised.live_ports, [sessions.tcp_port(HERE), sessions.tcp_port(other)])
        self.assertEqual(advertised.historic_ports, [sessions.tcp_port(other)])
        await server.stopService()

    async def test_a_bug_at_the_start_is_a_traceback(self) -> None:
        server = self.server(Config(server=LOCAL))
        server._listeners = cast("Any", None)
        self.assertRaises(TypeError, server.startService)
        await server.stopService()

    def test_wrong_values(self) -> None:
        for settings, key in (
            (Config(server=Server(login=["tcp"])), "server.login"),
            (Config(server=Server(live=["tcp:x"])), "server.live"),
            (Config(server=Server(historic=["serial:1"])), "server.historic"),
            (Config(server=Server(login=["ssl:1:privateKey=/nowhere"])), "server.login"),
            (Config(store=Store(url="mysql://localhost/cmmd")), "store.url"),
            (Config(store=Store(url="postgresql://localhost:port/cmmd")), "store.url"),
            (Config(store=Store(url="sqlite:")), "store.url"),
            (Config(store=Store(url="memory:x")), "store.url"),
            (Config(store=Store(url="sqlite:spool.sqlite")), "store.url"),
            (Config(store=Store(url="sqlite:./known.sqlite")), "store.url"),
            (Config(control=Control(listen=["tcp:1"])), "control.listen: 'tcp:1'"),
            (Config(control=Control(tls=ControlTLS(listen=["tcp:1"]))), "control.tls: listen needs certificate"),
            (
                Config(control=Control(tls=ControlTLS(listen=["tcp:1"], certificate="c", key="k", client_ca="a"))),
                "No such file",
            ),
            (Config(web=Web(listen=["tcp:x"])), "web.listen: endpoint 'tcp:x'"),
            (Config(controllers=Controllers(path="/nowhere")), "controllers.path: /nowhere: No such file"),
        ):
            self.assertIn(key, str(self.assertRaises(ConfigError, self.server, settings)))

    def test_backlog(self) -> None:
        for string, expected in (
            ("tcp:1", "tcp:1:backlog=4096"),
            ("tcp:1:backlog=5", "tcp:1:backlog=5"),
            ("unix:x", "unix:x"),
        ):
            self.assertEqual(parts._with_backlog(string), expected)

    def test_controllers_in_the_state_directory(self) -> None:
        state = Path(self.mktemp())
        (state / "profiles").mkdir(parents=True)
        file = state / "profiles" / "mine.toml"
        file.write_text('title = "Mine"\nmodels = ["M1"]\npolls = [{unit = 1, function = 3, address = 0, count = 1}]\n')
        settings = Config(controllers=Controllers(path="profiles"))
        self.assertEqual(self.server(settings, state)._catalog.for_moduletype("m1").name, "mine")
        file.write_text("title = 1\n")
        said = str(self.assertRaises(ConfigError, self.server, settings, state))
        self.assertEqual(said, f"controllers.path: {file}: title: Expected `str`, got `int`")

    def test_stores(self) -> None:
        spooled = self.server(Config())._store
        assert isinstance(spooled, SpooledStore)
        self.assertIsInstance(spooled._store, SQLiteStore)
        self.assertIsNone(spooled._known)
        self.assertIsInstance(self.server(Config(store=Store(url="memory:")))._store, MemoryStore)

    def test_make_service(self) -> None:
        options = Options()
        options.parseOptions([])
        done: list[str] = []
        self.patch(process, "steady_timers", lambda _: done.append("timers"))
        self.patch(tap, "read_directly", lambda _: done.append("reads"))
        self.patch(process, "end_orderly_on_signals", lambda _: done.append("signals"))
        self.patch(process, "calm_collector", lambda: done.append("collector"))
        self.assertIsInstance(tap.makeService(options), tap.Server)
        self.assertEqual(done, ["timers", "reads", "signals", "collector"])
        options.settings = Config(server=Server(login=["tcp"]))
        self.assertIn("server.login", str(self.assertRaises(SystemExit, tap.makeService, options)))

    async def test_low_file_limit_is_said(self) -> None:
        self.patch(process, "raise_file_limit", lambda _: 100)
        server = self.server(Config(server=LOCAL))
        refused = str(self.assertRaises(SystemExit, server.startService))
        self.assertRegex(refused, "the limit of open files is 100; 500 are kept .*LimitNOFILE=")
        self.patch(process, "raise_file_limit", lambda _: 600)
        server = self.server(Config(server=LOCAL))
        server.startService()
        self.assertEqual(cast("Any", server._sessions)._max_connections, 100)
        await server.stopService()
        self.assertFalse(server.running)
