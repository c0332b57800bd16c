"""Where slots run: the command line, runs, their results, reports, what-ifs and replays.

The command line stands on everything else; runs stand on agents, reports and results.
Nothing below imports from here.
"""
