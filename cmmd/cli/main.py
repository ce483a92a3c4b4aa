"""The command line: options that come first, and how everything ends."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

import click
from click.core import ParameterSource

from cmmd import __version__
from cmmd.cli import edit, enrolment, read, send, store_backup, store_commands, tokens, watch
from cmmd.cli.exit_status import Ends, ExitStatus
from cmmd.cli.options import where_of
from cmmd.cli.output import Output
from cmmd.cli.session import CliContext, CliSession, run_reactor

__all__ = ["cli", "command_line", "main"]

PROGRAM = "cmmctl"


@click.group(
    PROGRAM, no_args_is_help=False, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
@click.option(
    "--state",
    type=click.Path(path_type=Path),
    default="var",
    show_default=True,
    envvar="CMMCTL_STATE",
    help="The daemon's state directory. [env CMMCTL_STATE]",
)
@click.option(
    "--connect",
    metavar="ENDPOINT",
    envvar="CMMCTL_CONNECT",
    help="Where else it is: unix:PATH or tls:HOST:PORT. [env CMMCTL_CONNECT]",
)
@click.option(
    "--ca", type=click.Path(path_type=Path), envvar="CMMCTL_CA", help="With tls: who signs the daemon's certificate."
)
@click.option("--certificate", type=click.Path(path_type=Path), envvar="CMMCTL_CERTIFICATE", help="With tls: yours.")
@click.option("--key", type=click.Path(path_type=Path), envvar="CMMCTL_KEY", help="With tls: the key to it.")
@click.option("--json", is_flag=True, help="JSON for programs.")
@click.version_option(__version__, prog_name=PROGRAM, message="%(prog)s %(version)s")
@click.pass_context
def cli(context: click.Context, /, json: bool, **options: Any) -> None:
    """Look after cmmd and its gensets.

    Exit status: 0 done, 1 refused, failed or not allowed, 2 usage, 3 outcome unknown, 4 cannot connect.
    """
    given = {name: context.get_parameter_source(name) is ParameterSource.COMMANDLINE for name in ("state", "connect")}
    if all(given.values()):
        raise click.UsageError("--state or --connect, not both")
    if given["state"]:
        options["connect"] = None
    where = where_of(options)
    if where.files and len(where.files) < 3:
        raise click.UsageError("--ca, --certificate and --key: all of them, or none")
    around: CliContext = context.obj
    if json:
        around.output.speak_json()
    context.obj = CliSession(around, where)


for _part in (read, send, edit, enrolment, watch, store_commands, store_backup, tokens):
    _part.add_to(cli)


def command_line(arguments: Sequence[str], around: CliContext) -> int:
    """Carry out a command line.

    :return: the exit status.
    """
    try:
        status: int | None = cli.main(arguments, PROGRAM, standalone_mode=False, obj=around)
    except click.ClickException as error:
        around.output.failed(Ends(ExitStatus.USAGE, "usage", _one_line(error)))
        return ExitStatus.USAGE
    except (click.Abort, KeyboardInterrupt):
        return ExitStatus.INTERRUPTED
    return ExitStatus.DONE if status is None else status


def _one_line(error: click.ClickException) -> str:
    context = getattr(error, "ctx", None)
    where = PROGRAM if context is None else context.command_path
    return f"{' '.join(error.format_message().split())} (see {where} --help)"


def main() -> NoReturn:
    """Run cmmctl as a program."""
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="replace")  # type: ignore[union-attr]
    status = command_line(sys.argv[1:], CliContext(Output(sys.stdout, sys.stderr), sys.stdin, run_reactor))
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(
            os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno()
        )  # no reader is left: no complaint at the end either
    sys.exit(status)
