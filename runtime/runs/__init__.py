"""Where slots run: the slot loop, runs of the slot graph, experiments over families and seeds, shadows and dry runs.

It drives a testbed slot after slot and goes on where a stopped run was.
It may write into the folder of its run, and into a memory; what a run keeps there is `runtime.results`.
"""
