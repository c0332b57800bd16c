"""The digital twin: an exact and fast testbed, so that a decision is rehearsed before it is adopted."""
