"""P1's graph: one run of it is one slot, from the snapshot to the records.

Here are its state, its nodes, what they work with (`deps`), the kinds of decisions, and the checkpoints between slots.
Only the node `act` changes the world, only with decisions that passed the gate, and only the ledger remembers them.
"""
