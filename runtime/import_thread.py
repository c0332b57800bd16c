"""`python -m runtime.import_thread`: a recorded run as a thread of LangGraph Studio."""

import typer

from runtime.replay.import_thread import command

if __name__ == "__main__":
    typer.run(command)
