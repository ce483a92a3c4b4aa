"""Application operations for every caller: one place for AMP, HTTP and cmmctl."""
