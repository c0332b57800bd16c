"""The digital twin: the testbed, exact and fast, on a clock that does not sleep."""
