"""``python -m cmmd.control.cmmctl``."""

from cmmd.control.cmmctl.main import main

main()
