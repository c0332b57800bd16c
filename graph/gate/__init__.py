"""What stands between a model and the world: strict reading of answers, their schemas, checks, repair, fallback.

Every decision of every kind passes `graph.gate.passage`; there is no other way in.
It may ask models (`graph.models`) and the rules of `domain.constraints`, and it touches nothing else.
"""
