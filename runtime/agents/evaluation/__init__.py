"""A fixed set of decisions that any model can be tried on, and what its answers come to in the twin."""
