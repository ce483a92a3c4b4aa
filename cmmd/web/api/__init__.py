"""The HTTP API: a table of operations, and what each of them does."""
