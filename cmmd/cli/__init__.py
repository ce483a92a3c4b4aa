"""cmmctl, the command line of the daemon's operators."""
