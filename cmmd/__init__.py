"""cmmd: the server that SmartGen CMM modules report to when their owner keeps the data at home."""

__version__ = "0.1.0"
