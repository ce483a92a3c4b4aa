"""The model of a genset with its controller, mains and faults."""
