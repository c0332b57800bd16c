"""The command as a person types it, in this process."""

from __future__ import annotations

from typer.testing import CliRunner, Result

from runtime.cli.program import app


def edgewise(*arguments: str, columns: int = 100) -> Result:
    return CliRunner().invoke(app, arguments, prog_name="edgewise", env={"COLUMNS": str(columns)})


def refused(*arguments: str) -> str:
    """The one sentence with which a command refuses its input."""
    result = edgewise(*arguments)
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    sentence = result.stderr.strip()
    assert sentence.startswith("edgewise: ")
    assert sentence.endswith((".", "?"))
    assert "\n" not in sentence
    assert "Traceback" not in sentence
    return sentence
