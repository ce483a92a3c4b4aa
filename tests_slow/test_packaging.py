"""The wheel: built from a clean copy, installed into an empty venv, and run there with nothing else around.

These tests run processes and wait for them. Each wait has its own limit: trial's ``timeout`` cannot end what blocks.
"""

import atexit
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import venv
import zipfile
from functools import cache
from pathlib import Path
from tempfile import mkdtemp

from twisted.trial.unittest import SynchronousTestCase

from tests.child import Child
from tests.daemon import until
from tests.support import REPOSITORY, free_port

BUILD_TIMEOUT_S = 300
COMMAND_TIMEOUT_S = 60
POLL_S = 0.05

LOGIN = {
    "method": "login",
    "params": {
        "hostid": "3439333633355115004B003D",
        "hostname": "G1",
        "password": "1234",
        "moduletype": "HGM6120N",
        "modulePort": 2,
        "moduleBaud": 0,
    },
}


def run(*command: str | Path, cwd: Path, timeout: float = COMMAND_TIMEOUT_S) -> str:
    """Run a command in an environment that knows nothing of the checkout.

    :return: what it said.
    :raises AssertionError: its exit status is not 0.
    """
    done = subprocess.run(
        command,
        cwd=cwd,
        env=environment(),
        timeout=timeout,
        check=False,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert done.returncode == 0, f"{command} ended with status {done.returncode}:\n{done.stdout}"
    return done.stdout


def environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "COVERAGE_"))}


def copy_tree(target: Path) -> None:
    """Copy what git tracks and what it would, not what it ignores."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=REPOSITORY,
        capture_output=True,
        check=True,
        text=True,
    )
    for name in listed.stdout.split("\0"):
        if name and (REPOSITORY / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(REPOSITORY / name, target / name)


class Running(Child):
    """A command of the wheel."""

    def __init__(self, folder: Path, twistd: Path, command: str, *options: str | Path) -> None:
        super().__init__(folder / f"{command}.output")
        self._launch([twistd, "-n", command, *options], cwd=folder, env=environment())


@cache
def wheel() -> Path:
    """Build the wheel, once a worker, in a folder outside of the checkout that holds nothing of it."""
    folder = Path(mkdtemp(prefix="cmmd-wheel-"))
    atexit.register(shutil.rmtree, folder)
    source = folder / "source"
    copy_tree(source)
    run(sys.executable, "-m", "build", "--wheel", "--outdir", folder, cwd=source, timeout=BUILD_TIMEOUT_S)
    shutil.rmtree(source)
    (built,) = folder.glob("*.whl")
    return built


def install(folder: Path, *what: str | Path) -> None:
    """Make an empty venv in the folder and install into it; compiling what is never imported would take longest."""
    venv.create(folder / "venv", with_pip=True)
    python = folder / "venv" / "bin" / "python"
    run(python, "-m", "pip", "install", "--quiet", "--no-compile", *what, cwd=folder, timeout=BUILD_TIMEOUT_S)


class EditableTests(SynchronousTestCase):
    """What ``make run`` and ``make test`` install: the checkout itself."""

    def test_twistd_finds_the_commands_from_any_folder(self) -> None:
        folder = Path(mkdtemp(prefix="cmmd-editable-"))
        self.addCleanup(shutil.rmtree, folder)
        copy_tree(folder / "source")
        install(folder, "--editable", folder / "source")
        listed = run(folder / "venv" / "bin" / "twistd", "--help", cwd=folder)
        self.assertRegex(listed, r"(?m)^ +cmmd +\S")


class WheelTests(SynchronousTestCase):
    """What a user gets."""

    def setUp(self) -> None:
        self.wheel = wheel()
        self.folder = self.wheel.parent
        self.twistd = self.folder / "venv" / "bin" / "twistd"

    def test_contents(self) -> None:
        with zipfile.ZipFile(self.wheel) as archive:
            names = set(archive.namelist())
        expected = {"cmmd/py.typed", "twisted/plugins/cmmd_plugin.py"}
        for pattern in ("cmmd/**/*.py", "cmmd/**/*.sql", "cmmd/**/*.toml", "cmmd/web/static/**/*"):
            found = (path for path in REPOSITORY.glob(pattern) if path.is_file())
            expected |= {path.relative_to(REPOSITORY).as_posix() for path in found}
        self.assertEqual(sorted(expected - names), [], "missing in the wheel")
        self.assertTrue(any(name.startswith("cmmd/store/schema/") for name in names))
        self.assertTrue(any(name.endswith("/LICENSE") for name in names), "no licence in the wheel")
        others = {name for name in names - expected if ".dist-info/" not in name}
        self.assertEqual(sorted(others), [], "does not belong into the wheel")

    def test_commands(self) -> None:
        """In one test, because each worker of a run would install the wheel once more."""
        install(self.folder, self.wheel)
        self.assert_twistd_lists_them()
        self.assert_help()
        self.assert_completion()
        self.assert_they_run_and_end()

    def assert_twistd_lists_them(self) -> None:
        listed = run(self.twistd, "--help", cwd=self.folder)
        self.assertRegex(listed, r"(?m)^ +cmmd +\S")
        self.assertRegex(listed, r"(?m)^ +cmm-sim +\S")
        self.assertRegex(listed, r"(?m)^ +cmm-gateway +\S")

    def assert_help(self) -> None:
        server = run(self.twistd, "cmmd", "--help", cwd=self.folder)
        self.assertIn("--config", server)
        self.assertIn("--state", server)
        gateway = run(self.twistd, "cmm-gateway", "--help", cwd=self.folder)
        self.assertIn("--config", gateway)
        self.assertIn("--state", gateway)
        simulator = run(self.twistd, "cmm-sim", "--help", cwd=self.folder)
        for option in ("--server", "--devices", "--model", "--seed", "--data-mode"):
            self.assertIn(option, simulator)
        emulator = run(self.twistd.with_name("cmm-emulator"), "--help", cwd=self.folder)  # and needs no extra for it
        self.assertIn("--link", emulator)

    def assert_completion(self) -> None:
        """What Twisted gives a zsh whose user presses the tabulator."""
        for command, options in (("cmmd", ("--config=", "--state=")), ("cmm-sim", ("--server=", ":data-mode:(0 1)"))):
            completed = run(self.twistd, command, "--", "--_shell-completion", "zsh:4", cwd=self.folder)
            for option in options:
                self.assertIn(option, completed)

    def assert_they_run_and_end(self) -> None:
        port = free_port()
        endpoint = f'["tcp:{port}:interface=127.0.0.1"]'
        config = self.folder / "cmmd.toml"
        ways_in = "".join(f"{role} = {endpoint}\n" for role in ("login", "live", "historic"))
        config.write_text(f"[server]\n{ways_in}[web]\nlisten = []\n", encoding="utf-8")
        daemon = self._started("cmmd", "--state", self.folder / "state", "--config", config)
        answer = json.loads(self._log_in(port, daemon))
        self.assertEqual((answer["method"], answer["retcode"], answer["result"]["register"]), ("login", "000000", 1))
        self.assertEqual(answer["result"]["liveData"], f"127.0.0.1:{port}")
        devices = self._started("cmm-sim", "--server", f"127.0.0.1:{port}", "--devices", "2")
        until(lambda: "2 of 2 devices online" in devices.log, "two devices online", COMMAND_TIMEOUT_S)
        for ended in (devices, daemon):
            self.assertEqual(ended.terminate(), 0, ended.log)
            self.assertNotIn("Traceback", ended.log)
        self.assertTrue((self.folder / "state").is_dir())

    def _started(self, command: str, *options: str | Path) -> Running:
        running = Running(self.folder, self.twistd, command, *options)
        self.addCleanup(running.kill)
        return running

    def _log_in(self, port: int, daemon: Running) -> bytes:
        """:return: the answer to a login, all that comes until the server closes the short connection."""
        with self._connect(port, daemon) as connection:
            connection.sendall(json.dumps(LOGIN).encode())
            received = b""
            while piece := connection.recv(65536):
                received += piece
        return received

    def _connect(self, port: int, daemon: Running) -> socket.socket:
        deadline = time.monotonic() + COMMAND_TIMEOUT_S
        while True:
            try:
                return socket.create_connection(("127.0.0.1", port), timeout=COMMAND_TIMEOUT_S)
            except ConnectionRefusedError:
                if not daemon.alive or time.monotonic() > deadline:
                    raise AssertionError(f"the daemon does not listen:\n{daemon.log}") from None
                time.sleep(POLL_S)
