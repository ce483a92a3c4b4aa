"""``cmm-emulator``: a controller that does not exist, behind a serial port that does not either.

For trying a gateway out, or anything else that speaks Modbus RTU.
"""

import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from cmmd.simulator.emulator.line import SPEEDS, PortError
from cmmd.simulator.genset.panel import DEFAULT_MODEL

__all__ = ["main"]

PROGRAM = "cmm-emulator"


@click.command(PROGRAM, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option("--link", type=click.Path(path_type=Path), required=True, help="The path that a gateway opens.")
@click.option("--baud", type=click.Choice([*map(str, SPEEDS)]), default="9600", show_default=True, help="Bit/s.")
@click.option("--unit", type=click.IntRange(1, 247), default=1, show_default=True, help="Its Modbus address.")
@click.option("--model", default=DEFAULT_MODEL, show_default=True, help="The controller's.")
@click.option("--seed", type=int, default=1, show_default=True, help="The same one gives the same genset.")
@click.option("--lively", is_flag=True, help="Mains and engine fail by themselves now and then.")
def _command(link: Path, baud: str, model: str, **options: Any) -> None:
    """A genset controller behind a pseudo-terminal, for trying a gateway out.

    It does what is said on standard input, one word a line, and answers each with a line of JSON: say "help". It ends
    with its input, or by a signal.
    """
    try:
        asyncio.run(_run(f"{model} at {link}, {baud} 8N1", link=link, baud=int(baud), model=model, **options))
    except PortError as error:
        raise click.ClickException(str(error)) from None
    except ModuleNotFoundError as error:
        if error.name != "pymodbus":
            raise
        raise click.ClickException(f"{PROGRAM} needs pymodbus: pip install 'cmmd[emulator]'") from None


async def _run(title: str, **options: Any) -> None:
    from cmmd.simulator.emulator.service import end_on_signals, make_world, serve

    ended = asyncio.Event()
    end_on_signals(ended)
    world = make_world(**options)
    click.echo(f"{PROGRAM}: {title}; say help", err=True)
    await serve(world, words=sys.stdin.fileno(), answers=sys.stdout.fileno(), ended=ended)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run it; exit status 0 after an orderly end, 1 where it cannot begin, 2 for wrong options."""
    _command.main(arguments, prog_name=PROGRAM)


if __name__ == "__main__":
    main()
