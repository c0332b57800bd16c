"""What a run keeps: its folder, records and slots as Parquet, counts and the summary, and who decided.

It knows how results are counted and written, not how they come about.
It may write inside the folder of one run and nowhere else.
"""
