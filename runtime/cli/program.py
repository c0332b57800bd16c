"""The `edgewise` command: what it offers, what it says when something is wrong, and its exit status.

Status 0: done. 1: the machine could not (disk full, no permission, a store away). 2: the input is wrong. 130:
interrupted; 143: ended by SIGTERM. What a command takes is in `runtime.cli.arguments`; what it does is in
`runtime.cli.commands`, imported when it runs, so that --help does not wait for a compiler.
"""

from __future__ import annotations

import errno
import signal
import sys
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from domain.errors import InputError
from runtime.cli.arguments import evaluate, experiments, looks, memory, show, whatif
from runtime.runs.interrupts import INTERRUPTED, TERMINATED


class Guarded(TyperGroup):
    """Turns what can go wrong in any command into a sentence on the error stream and an exit status."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except InputError as error:
            typer.echo(f"edgewise: {error}", err=True)
            raise typer.Exit(error.status) from None
        except KeyboardInterrupt as error:
            typer.echo(f"edgewise: interrupted; {error}" if str(error) else "edgewise: interrupted.", err=True)
            raise typer.Exit(getattr(error, "status", INTERRUPTED)) from None
        except OSError as error:
            if error.errno == errno.EPIPE:
                raise
            typer.echo(
                f"edgewise: {error.filename or 'reading or writing failed'}: {error.strerror or error}.", err=True
            )
            raise typer.Exit(1) from None


app = typer.Typer(
    cls=Guarded,
    rich_markup_mode="markdown",
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"edgewise {version('edgewise')}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def start(
    ctx: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Edgewise decides which edge server keeps which AI model loaded and where each prompt goes.

    Without a command it shows itself: it compares P1's policy families and its own on a digital twin of P1's Bristol
    testbed, first with P1's workload, then with bundled excerpts of real traces. That takes less than a minute, the
    first time another one to compile, and needs no network, key or GPU. P1 is the paper "Multi-Agentic AI for
    Fairness-Aware and Accelerated Multi-modal Large Model Inference in Real-world Mobile Edge Networks" (arXiv
    2602.07215).

    Example: **edgewise**
    """
    if ctx.invoked_subcommand is None:
        from runtime.cli.commands.experiments import demo

        demo()


def _group(name: str, text: str) -> typer.Typer:
    group = typer.Typer(rich_markup_mode="markdown", help=text, no_args_is_help=True)
    app.add_typer(group, name=name)
    return group


app.command()(experiments.run)
app.command()(experiments.compare)
app.command("evaluate-model")(evaluate.evaluate_model)
app.command()(looks.families)
app.command()(looks.report)
app.command()(show.show)
app.command()(whatif.whatif)
app.command("compile")(looks.compile_ahead)
_group("trace", "Look at traces of requests.").command("inspect")(looks.trace_inspect)
_group("memory", "Look after the memory of runs.").command("store")(memory.store)
_group("testbed", "Look at testbeds and make new ones.").command("show")(looks.testbed_show)


def main() -> None:
    """Run the command line."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # a terminal that lacks a character shows ?, not a traceback
    try:
        app(prog_name="edgewise")
    except SystemExit as end:
        if end.code in (INTERRUPTED, TERMINATED):  # it ends already: a second Ctrl-C would only print a traceback
            signal.signal(signal.SIGINT, signal.SIG_IGN)
        raise
