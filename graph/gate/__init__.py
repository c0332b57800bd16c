"""What stands between a model and the world: strict reading of answers, their schemas, checks, repair, fallback.

Every decision of every kind passes `graph.gate.passage`, and once more the door to the world, `graph.gate.door`.
It may ask models (`graph.models`) and the rules of `domain.constraints`; it tells testbeds what the door lets through,
and touches nothing else.
"""
