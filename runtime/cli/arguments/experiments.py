"""run and compare: policy families on a testbed and a workload."""

from __future__ import annotations

from typing import Annotated

import typer

from domain.errors import InputError
from runtime.agents.request import AgentRequest
from runtime.cli.arguments import agents
from runtime.cli.arguments.options import (
    BatchOption,
    CopiesOption,
    DispatchOption,
    EpochsOption,
    LambdaOption,
    LoadOption,
    NewsOption,
    OutOption,
    SlotsOption,
    TestbedOption,
    WorkloadOption,
    option,
)


def run(
    ctx: typer.Context,
    family: Annotated[
        str,
        option(
            "--family -f",
            "CODE",
            "Policy family; `edgewise families` lists them. Or who fills the roles: planner+scheduler+deployer, "
            "each `agent` or a rule.",
            shown=True,
        ),
    ] = "RL",
    testbed: TestbedOption = "bristol",
    workload: WorkloadOption = "p1",
    load: LoadOption = 1.0,
    epochs: EpochsOption = None,
    slots: SlotsOption = None,
    seed: Annotated[int, typer.Option("--seed", "-s", min=0, metavar="N", help="Seed of requests and decisions.")] = 1,
    latency_weight: LambdaOption = None,
    dispatch: DispatchOption = None,
    news_s: NewsOption = None,
    batching: BatchOption = None,
    copies: CopiesOption = None,
    out: OutOption = None,
    resume: agents.ResumeOption = None,
    other_code: agents.OtherCodeOption = False,
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
    patience_s: agents.PatienceOption = None,
    slot_tokens: agents.SlotTokensOption = None,
    slot_usd: agents.SlotUsdOption = None,
    prices: agents.PricesOption = None,
    tape: agents.TapeOption = None,
    replay_tape: agents.ReplayTapeOption = None,
    memory: agents.MemoryOption = None,
    checkpoints: agents.CheckpointsOption = None,
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

    Example: **edgewise run --family RH --dispatch split --news 1 --batch request --copies**
    """
    from runtime.cli.commands import experiments
    from runtime.cli.commands.requests import Request
    from twin.testbeds import ServingEdit

    if resume is not None:
        given = [name for name in ctx.params if str(ctx.get_parameter_source(name)).endswith("COMMANDLINE")]
        if not set(given) <= {"resume", "memory", "other_code"}:
            raise InputError(
                "--resume does what the stopped run was asked to do; give it alone, or with --memory and --other-code."
            )
        experiments.resume(resume, memory, other_code)
        return
    if other_code:
        raise InputError("--other-code goes on with a run that was stopped; name it with --resume.")
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
        patience_s=patience_s,
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
        checkpoints=checkpoints,
        trace=trace,
        via_graph=via_graph,
    )
    experiments.execute(
        Request(
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
            ServingEdit(dispatch, news_s, batching, copies),
        )
    )


def compare(
    family: Annotated[
        list[str] | None,
        option(
            "--family -f",
            "CODE[,CODE…]",
            "Policy families; may be repeated. CODE:DISPATCH, such as RH:split, has a dispatch of its own.",
            shown="all that need no model",
        ),
    ] = None,
    testbed: TestbedOption = "bristol",
    workload: WorkloadOption = "p1",
    load: LoadOption = 1.0,
    epochs: EpochsOption = None,
    slots: SlotsOption = None,
    seeds: Annotated[
        str,
        option("--seeds -s", "LIST", "Seeds: 7, or 1,2,5, or 1-5; every family meets the same requests.", shown=True),
    ] = "1",
    latency_weight: LambdaOption = None,
    dispatch: DispatchOption = None,
    news_s: NewsOption = None,
    batching: BatchOption = None,
    copies: CopiesOption = None,
    out: OutOption = None,
) -> None:
    """Compare policy families on the same requests: one table, records, figures.

    With several seeds the table gives the median of each number and an interval around it.

    Example: **edgewise compare --family RL,AL --workload real**

    Example: **edgewise compare --seeds 1-5 --epochs 4 --out runs/five-seeds**

    Example: **edgewise compare --family RH,RH:arrival,RH:split --epochs 2**
    """
    from runtime.cli.commands.experiments import execute
    from runtime.cli.commands.requests import Request
    from twin.testbeds import ServingEdit

    serving = ServingEdit(dispatch, news_s, batching, copies)
    execute(Request(testbed, workload, load, family or [], seeds, epochs, slots, latency_weight, out, serving=serving))
