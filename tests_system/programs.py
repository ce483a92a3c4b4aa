"""Programs of others, run to their end; and what they and cmmd answer over HTTP."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import Request, urlopen

from tests.daemon import DEADLINE_S

__all__ = ["answer", "asked", "new_token", "run"]

ETC = Path(__file__).resolve().parent.parent / "etc"


def run(*command: str | Path, said: bytes = b"") -> str:
    """Run a program.

    :param said: what it reads on standard input.
    :return: all that it says.
    :raises AssertionError: its exit status is not 0.
    """
    done = subprocess.run(
        command, input=said, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=DEADLINE_S, check=False
    )
    text = done.stdout.decode("utf-8", "replace")
    assert done.returncode == 0, f"{command} ended with status {done.returncode}:\n{text}"
    return text


def new_token(state: Path, name: str, role: str) -> str:
    """Make a token as an operator does.

    :param state: the daemon's directory.
    """
    add = ("token", "add", name, "--role", role)
    token: str = json.loads(run(sys.executable, "-m", "cmmd.cli", "--state", state, "--json", *add))["token"]
    return token


def answer(url: str, **headers: str) -> bytes:
    """What a server answers; also where it is an error.

    :param headers: with underscores for hyphens.
    """
    request = Request(url, headers={name.replace("_", "-"): value for name, value in headers.items()})
    try:
        with urlopen(request, timeout=DEADLINE_S) as response:
            body: bytes = response.read()
    except HTTPError as error:
        body = error.read()
    return body


def asked(prometheus: str, query: str) -> list[dict[str, Any]]:
    """The samples that a Prometheus has for a query now.

    :raises AssertionError: it does not understand it.
    """
    said = json.loads(answer(f"{prometheus}/api/v1/query?{urlencode({'query': query})}"))
    assert said["status"] == "success", f"{query}: {said.get('error')}"
    result = said["data"]["result"]
    assert isinstance(result, list)
    return result
