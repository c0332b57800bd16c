"""What people are shown of a run: tables for a terminal, P1's figures.

It reads summaries and decides nothing.
It may write figures into a folder that it is given.
"""
