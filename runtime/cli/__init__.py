"""The command line: what each command takes (`arguments`), and what it does (`commands`).

Nothing else belongs here: commands put together what the other rooms of `runtime` do.
It may read options and write to the terminal; `--help` imports nothing heavy.
"""

from runtime.cli.program import app, main

__all__ = ["app", "main"]
