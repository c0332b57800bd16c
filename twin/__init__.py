"""The digital twin: a testbed that is exact and fast, so that a decision can be rehearsed before it is adopted."""
