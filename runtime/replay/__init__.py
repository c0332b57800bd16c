"""Recorded runs, slot by slot, and the way of a recorded run into LangGraph Studio.

It reads the checkpoints or the memory of a run and changes neither.
It may send threads to a LangGraph server on request.
"""
