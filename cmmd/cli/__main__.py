"""Run cmmctl as ``python -m cmmd.cli``."""

from cmmd.cli.main import main

main()
