"""The `edgewise` command: what it offers, what it says when something is wrong, and its exit status.

Status 0: done. 1: the machine could not (disk full, no permission). 2: the input is wrong, said in one sentence. 130:
interrupted. What a command does is in `runtime.commands`, imported when it runs, so that --help does not wait for a
compiler.
"""

from __future__ import annotations

import errno
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from domain.errors import InputError
from runtime import agent_options as agents
from runtime.agent_request import AgentRequest

BAD_INPUT, INTERRUPTED = 2, 130


class Guarded(TyperGroup):
    """Turns what can go wrong in any command into a sentence on the error stream and an exit status."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except InputError as error:
            typer.echo(f"edgewise: {error}", err=True)
            raise typer.Exit(BAD_INPUT) from None
        except KeyboardInterrupt as error:
            typer.echo(f"edgewise: interrupted; {error}" if str(error) else "edgewise: interrupted.", err=True)
            raise typer.Exit(INTERRUPTED) from None
        except OSError as error:
            if error.errno == errno.EPIPE:
                raise
            typer.echo(f"edgewise: {error.filename or 'the run'}: {error.strerror or error}.", err=True)
            raise typer.Exit(1) from None


app = typer.Typer(
    cls=Guarded,
    rich_markup_mode="markdown",
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
trace_app = typer.Typer(rich_markup_mode="markdown", help="Look at traces of requests.", no_args_is_help=True)
testbed_app = typer.Typer(rich_markup_mode="markdown", help="Look at testbeds and make new ones.", no_args_is_help=True)
app.add_typer(trace_app, name="trace")
app.add_typer(testbed_app, name="testbed")

TestbedOption = Annotated[
    str, typer.Option("--testbed", "-t", metavar="NAME|FILE", help="A built-in testbed or a YAML file.")
]
WorkloadOption = Annotated[
    str,
    typer.Option(
        "--workload",
        "-w",
        metavar="NAME|FILE",
        help="p1 (P1's random batches), real (bundled real traces), poisson, bursty, drift, hotspot, or a YAML file.",
    ),
]
LoadOption = Annotated[
    float, typer.Option("--load", metavar="X", help="Factor of the workload's requests: 2 is twice as many.")
]
EpochsOption = Annotated[
    int | None,
    typer.Option(
        "--epochs",
        "-e",
        metavar="N",
        help="Epochs of new requests, 50 slots each on bristol.",
        show_default="10, or as far as the trace goes",
    ),
]
SlotsOption = Annotated[
    int | None,
    typer.Option("--slots", metavar="N", help="Slots of new requests, instead of --epochs.", show_default=False),
]
LambdaOption = Annotated[
    float | None,
    typer.Option(
        "--lambda",
        metavar="0..1",
        help="Weight of latency against fairness in the objective J.",
        show_default="the testbed's, 0.5 on bristol",
    ),
]
OutOption = Annotated[
    Path | None,
    typer.Option(
        "--out",
        "-o",
        metavar="FOLDER",
        help="Folder of the run; must not exist yet.",
        show_default="runs/<testbed>-<workload>-seed<seed>",
    ),
]


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

    Without a command it shows itself: it compares five policy families on a digital twin of P1's Bristol testbed,
    first with P1's workload, then with bundled excerpts of real traces. That takes less than a minute and needs no
    network, key or GPU. P1 is the paper "Multi-Agentic AI for Fairness-Aware and Accelerated Multi-modal Large Model
    Inference in Real-world Mobile Edge Networks" (arXiv 2602.07215).

    Example: **edgewise**
    """
    if ctx.invoked_subcommand is None:
        from runtime.commands.experiments import demo

        demo()


@app.command()
def run(
    ctx: typer.Context,
    family: Annotated[
        str,
        typer.Option(
            "--family",
            "-f",
            metavar="CODE",
            help="Policy family; `edgewise families` lists them. Or who fills the roles: planner+scheduler+deployer, "
            "each `agent` or a rule.",
        ),
    ] = "RL",
    testbed: TestbedOption = "bristol",
    workload: WorkloadOption = "p1",
    load: LoadOption = 1.0,
    epochs: EpochsOption = None,
    slots: SlotsOption = None,
    seed: Annotated[int, typer.Option("--seed", "-s", min=0, metavar="N", help="Seed of requests and decisions.")] = 1,
    latency_weight: LambdaOption = None,
    out: OutOption = None,
    resume: agents.ResumeOption = None,
    model: agents.ModelOption = None,
    planner_model: agents.PlannerModelOption = None,
    scheduler_model: agents.SchedulerModelOption = None,
    deployer_model: agents.DeployerModelOption = None,
    base_url: agents.BaseUrlOption = None,
    temperature: agents.TemperatureOption = None,
    model_seed: agents.ModelSeedOption = None,
    llm: agents.LlmOption = None,
    timeout_s: agents.TimeoutOption = None,
    max_tokens: agents.MaxTokensOption = None,
    slot_seconds: agents.SlotSecondsOption = None,
    slot_tokens: agents.SlotTokensOption = None,
    slot_usd: agents.SlotUsdOption = None,
    prices: agents.PricesOption = None,
    tape: agents.TapeOption = None,
    replay_tape: agents.ReplayTapeOption = None,
    memory: agents.MemoryOption = None,
    trace: agents.TraceOption = False,
    rehearse: agents.RehearseOption = "all",
    margin: agents.MarginOption = 0.02,
    fallback: agents.FallbackOption = None,
    reuse_plan: agents.ReusePlanOption = False,
    planner_tools: agents.PlannerToolsOption = False,
    approve: agents.ApproveOption = False,
    dry_run: agents.DryRunOption = False,
    shadow: agents.ShadowOption = None,
    via_graph: agents.ViaGraphOption = False,
) -> None:
    """Run one policy family on the twin and write its run folder.

    Families of agents (MA, MAL) ask models; with no key, no server and no --llm, rules stand in and the run says so.
    A run that was interrupted or killed goes on where it stopped with the same command, or with --resume.

    Example: **edgewise run --family AL --epochs 4 --seed 7**

    Example: **edgewise run --family LL --workload real --lambda 0.8 --out runs/local**

    Example: **edgewise run --family MA --epochs 1 --llm local --shadow RL**
    """
    from runtime.commands import experiments

    if resume is not None:
        given = [name for name in ctx.params if str(ctx.get_parameter_source(name)).endswith("COMMANDLINE")]
        if not set(given) <= {"resume", "memory"}:
            raise InputError("--resume does what the killed run was asked to do; give it with --memory or alone.")
        experiments.resume(resume, memory)
        return
    asked = AgentRequest(
        model=model,
        planner_model=planner_model,
        scheduler_model=scheduler_model,
        deployer_model=deployer_model,
        base_url=base_url,
        temperature=temperature,
        model_seed=model_seed,
        timeout_s=timeout_s,
        max_tokens=max_tokens,
        slot_tokens=slot_tokens,
        slot_usd=slot_usd,
        slot_seconds=slot_seconds,
        prices=prices,
        llm=llm,
        tape=tape,
        replay_tape=replay_tape,
        rehearse=rehearse,
        margin=margin,
        fallback=fallback,
        reuse_plan=reuse_plan,
        planner_tools=planner_tools,
        approve=approve,
        dry_run=dry_run,
        shadow=tuple(shadow or ()),
        memory=memory,
        trace=trace,
        via_graph=via_graph,
    )
    experiments.execute(
        experiments.Request(
            testbed,
            workload,
            load,
            [family],
            str(seed),
            epochs,
            slots,
            latency_weight,
            out,
            asked if asked != AgentRequest() else None,
        )
    )


@app.command()
def compare(
    family: Annotated[
        list[str] | None,
        typer.Option(
            "--family",
            "-f",
            metavar="CODE[,CODE…]",
            help="Policy families; may be repeated.",
            show_default="all that need no model",
        ),
    ] = None,
    testbed: TestbedOption = "bristol",
    workload: WorkloadOption = "p1",
    load: LoadOption = 1.0,
    epochs: EpochsOption = None,
    slots: SlotsOption = None,
    seeds: Annotated[
        str,
        typer.Option(
            "--seeds", "-s", metavar="LIST", help="Seeds: 7, or 1,2,5, or 1-5; every family meets the same requests."
        ),
    ] = "1",
    latency_weight: LambdaOption = None,
    out: OutOption = None,
) -> None:
    """Compare policy families on the same requests: one table, records, figures.

    With several seeds the table gives the median of each number and an interval around it.

    Example: **edgewise compare --family RL,AL --workload real**

    Example: **edgewise compare --seeds 1-5 --epochs 4 --out runs/five-seeds**
    """
    from runtime.commands.experiments import Request, execute

    execute(Request(testbed, workload, load, family or [], seeds, epochs, slots, latency_weight, out))


@app.command("evaluate-model")
def evaluate_model(
    role: Annotated[
        list[str] | None,
        typer.Option("--role", metavar="ROLE", help="planner, scheduler or deployer; repeatable.", show_default="all"),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="FILE", help="Write every case as JSON.", show_default=False)
    ] = None,
    model: agents.ModelOption = None,
    planner_model: agents.PlannerModelOption = None,
    scheduler_model: agents.SchedulerModelOption = None,
    deployer_model: agents.DeployerModelOption = None,
    base_url: agents.BaseUrlOption = None,
    temperature: agents.TemperatureOption = None,
    model_seed: agents.ModelSeedOption = None,
    llm: agents.LlmOption = None,
    timeout_s: agents.TimeoutOption = None,
    max_tokens: agents.MaxTokensOption = None,
    slot_seconds: agents.SlotSecondsOption = None,
) -> None:
    """Try a model on a fixed set of decisions: how often its answers pass the rules, and what they come to.

    Example: **edgewise evaluate-model --llm local --out smollm2.json**

    Example: **edgewise evaluate-model --base-url http://127.0.0.1:8080/v1 --model qwen3-8b**
    """
    from runtime.commands.evaluate import evaluate

    evaluate(
        AgentRequest(
            model=model,
            planner_model=planner_model,
            scheduler_model=scheduler_model,
            deployer_model=deployer_model,
            base_url=base_url,
            temperature=temperature,
            model_seed=model_seed,
            llm=llm,
            timeout_s=timeout_s,
            max_tokens=max_tokens,
            slot_seconds=slot_seconds,
        ),
        role or [],
        out,
    )


@app.command()
def families() -> None:
    """List the policy families: who plans, schedules and deploys in each.

    Example: **edgewise families**
    """
    from runtime.commands.looks import show_families

    show_families()


@app.command()
def report(run: Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a finished run.")]) -> None:
    """Print the table of a finished run again.

    Example: **edgewise report runs/bristol-p1-seed1**
    """
    from runtime.commands.looks import show_report

    show_report(run)


@app.command()
def whatif(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a finished run.")],
    family: Annotated[
        list[str] | None,
        typer.Option(
            "--family",
            "-f",
            metavar="CODE[,CODE…]",
            help="Rules that decide in place of those of the run; may be repeated.",
            show_default="those of the run",
        ),
    ] = None,
    testbed: Annotated[
        str | None,
        typer.Option(
            "--testbed",
            "-t",
            metavar="NAME|FILE",
            help="Another testbed, with the same LMs.",
            show_default="that of the run",
        ),
    ] = None,
    add_node: Annotated[
        list[str] | None,
        typer.Option(
            "--add-node",
            metavar="[NAME=]NODE",
            help="One more node like NODE, at its site; may be repeated.",
            show_default=False,
        ),
    ] = None,
    remove_node: Annotated[
        list[str] | None,
        typer.Option("--remove-node", metavar="NODE", help="Without this node; may be repeated.", show_default=False),
    ] = None,
    split: Annotated[
        int | None,
        typer.Option("--split", metavar="N", help="N vGPUs per GPU, on every node with GPUs.", show_default=False),
    ] = None,
    recorded: Annotated[
        str | None,
        typer.Option(
            "--recorded",
            metavar="CODE",
            help="Family of the run to compare with, where it has several.",
            show_default="the one with the least J",
        ),
    ] = None,
    memory: Annotated[
        str | None,
        typer.Option(
            "--memory",
            metavar="URI|FILE",
            help="Where the run kept its decisions; also from MONGODB_URI.",
            show_default="memory.sqlite in the run folder",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            metavar="FOLDER",
            help="Keep numbers, records and a figure here; must not exist yet.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Play the requests of a run again, under other rules or on another testbed, and say how sure the difference is.

    The requests come from the run's records, whoever decided and wherever it took place. First the run itself is
    played again in the twin, as it was decided, to see how far the twin is off.

    Example: **edgewise whatif runs/bristol-p1-RL-seed1 --family RH**

    Example: **edgewise whatif runs/bristol-p1-RH-seed1 --add-node VM4 --out runs/one-more-gpu**

    Example: **edgewise whatif runs/five-seeds --recorded RF --split 3 --remove-node VM3**
    """
    from runtime.commands.whatif import Question, what_if
    from runtime.whatif.edits import Edits

    edits = Edits(testbed, tuple(add_node or ()), tuple(remove_node or ()), split)
    what_if(Question(run, tuple(family or ()), recorded, edits, memory, out))


@trace_app.command("inspect")
def trace_inspect(file: Annotated[Path, typer.Argument(metavar="FILE", help="A trace of requests.")]) -> None:
    """Say what a trace file holds: its form, its requests per LM and origin, and what is wrong with it, if anything.

    Example: **edgewise trace inspect requests.csv**
    """
    from runtime.commands.looks import show_trace

    show_trace(file)


@testbed_app.command("show")
def testbed_show(
    testbed: Annotated[
        str, typer.Argument(metavar="NAME|FILE", help="A built-in testbed or a YAML file.", show_default=True)
    ] = "bristol",
    generate: Annotated[
        int | None,
        typer.Option("--generate", metavar="N", help="Make a random testbed of N nodes instead.", show_default=False),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, metavar="N", help="Seed of the random testbed.")] = 1,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", metavar="FILE", help="Write the testbed as YAML as well.", show_default=False),
    ] = None,
    with_sources: Annotated[bool, typer.Option("--sources", help="List where every number comes from.")] = False,
) -> None:
    """Show a testbed: nodes, LMs, seconds per prompt, and where every number comes from.

    Example: **edgewise testbed show bristol --sources**

    Example: **edgewise testbed show --generate 20 --seed 3 --out twenty.yaml**
    """
    from runtime.commands.looks import show_testbed

    show_testbed(testbed, generate, seed, out, with_sources)


def main() -> None:
    """Run the command line."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # a terminal that lacks a character shows ?, not a traceback
    app(prog_name="edgewise")
