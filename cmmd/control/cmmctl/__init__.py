"""cmmctl: the daemon at the command line. docs/cmmctl.md is the same for users."""
