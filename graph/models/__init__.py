"""How a model is asked: clients, calls, retries, breaker, budget, time limits, the tape, and rounds of read-only tools.

It knows nothing of decisions: a question goes in, an attempt comes out, and whatever goes wrong is part of the attempt.
It may touch the network, and `graph.models.client` alone knows the library for it.
"""
