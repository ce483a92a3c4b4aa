"""A real ``twistd -n cmm-gateway`` in a process of its own. Knows nothing of trial."""

import json
from pathlib import Path
from typing import Any

from tests.child import Child
from tests.daemon import Sections, environment, toml, twistd_words, until

__all__ = ["GatewayProcess"]


class GatewayProcess(Child):
    """One gateway with its configuration and state; it may be ended and started again on them.

    :param folder: where everything of it goes.
    :param sections: the configuration, table by table; where it does not say, the password is 123456, and the status
        file is written every second.
    :ivar state: its state directory.
    """

    def __init__(self, folder: Path, sections: Sections) -> None:
        folder.mkdir(exist_ok=True)
        super().__init__(folder / "output")
        self.state = folder / "state"
        self.config = folder / "gateway.toml"
        self._folder = folder
        self.configure(sections)

    def configure(self, sections: Sections) -> None:
        """Write the configuration, which counts from the next start on."""
        usual: Sections = {"device": {"password": "123456"}, "status": {"interval": 1}}
        merged = {name: {**usual.get(name, {}), **sections.get(name, {})} for name in {**usual, **sections}}
        self.config.write_text(toml(merged), encoding="utf-8")

    def start(self) -> "GatewayProcess":
        """Start it, and do not wait."""
        words = twistd_words("cmm-gateway", "--config", self.config, "--state", self.state)
        self._launch(words, cwd=self._folder, env=environment())
        return self

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
        until(lambda: self._said(text, times), f"{text!r} in the log")

    def _said(self, text: str, times: int) -> bool:
        self.assert_alive()
        return self.log.count(text) >= times
