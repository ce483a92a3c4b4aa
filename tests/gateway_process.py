"""A real ``twistd -n cmm-gateway`` in a process of its own. Knows nothing of trial."""

import json
import signal
import subprocess
from pathlib import Path
from typing import Any

from tests.daemon import DEADLINE_S, Sections, toml, twistd, until

__all__ = ["GatewayProcess"]


class GatewayProcess:
    """One gateway with its configuration and state; it may be ended and started again on them.

    :param folder: where everything of it goes.
    :param sections: the configuration, table by table; where it does not say, the password is 123456, and the status
        file is written every second.
    :ivar state: its state directory.
    """

    def __init__(self, folder: Path, sections: Sections) -> None:
        folder.mkdir(exist_ok=True)
        self.state = folder / "state"
        self.config = folder / "gateway.toml"
        self._folder = folder
        self._output = folder / "output"
        self._process: subprocess.Popen[bytes] | None = None
        self.configure(sections)

    def configure(self, sections: Sections) -> None:
        """Write the configuration, which counts from the next start on."""
        usual: Sections = {"device": {"password": "123456"}, "status": {"interval": 1}}
        merged = {name: {**usual.get(name, {}), **sections.get(name, {})} for name in {**usual, **sections}}
        self.config.write_text(toml(merged), encoding="utf-8")

    def start(self) -> "GatewayProcess":
        """Start it, and do not wait."""
        assert self._process is None, "it runs"
        arguments = ("cmm-gateway", "--config", self.config, "--state", self.state)
        self._process = twistd(self._folder, *arguments, output=self._output)
        return self

    @property
    def log(self) -> str:
        """What it has said since the first start."""
        return self._output.read_text(encoding="utf-8", errors="replace") if self._output.exists() else ""

    @property
    def status(self) -> dict[str, Any]:
        """What its status file says; empty: there is none."""
        file = self.state / "status.json"
        described: dict[str, Any] = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
        return described

    def says(self, text: str, times: int = 1) -> None:
        """Wait until it has said something so often.

        :raises AssertionError: it does not, or ends.
        """
        until(lambda: self.log.count(text) >= times or self._ended_early(), f"{text!r} in the log")

    def _ended_early(self) -> bool:
        assert self._process is not None and self._process.poll() is None, f"it has ended:\n{self.log}"
        return False

    def terminate(self, number: signal.Signals = signal.SIGTERM) -> int:
        """End it as an operator does.

        :return: the exit status.
        """
        assert self._process is not None, "it does not run"
        self._process.send_signal(number)
        return self.ended()

    def ended(self) -> int:
        """Wait for its end.

        :return: the exit status.
        """
        assert self._process is not None, "it does not run"
        status = self._process.wait(DEADLINE_S)
        self._process = None
        return status

    def kill(self) -> None:
        """End it as a power cut does. Nothing happens where it does not run."""
        if self._process is not None:
            self._process.kill()
            self.ended()
