"""How a decision is made: propose, check, repair, fall back, in one graph for every policy family.

The rooms stand on each other: studio and trace on slot, slot on rehearsal, rehearsal on gate, gate on models.
Nothing here knows a terminal, a run folder or the client of a cluster.
"""
