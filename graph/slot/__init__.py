"""P1's graph: one run of it is one slot, from the snapshot to the records.

Here are its state, its nodes, what they work with (`deps`), the kinds of decisions, and the checkpoints between slots.
Only `dispatch` and `act` change the world, only through the gate's door, and only the ledger remembers the decisions.
"""
