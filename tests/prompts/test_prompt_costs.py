"""What prompts cost, in tokens, as docs/prompts.md says."""

import asyncio
import re
from pathlib import Path

import pytest
import requests

from domain.decisions import MacroPolicy
from prompts.messages import Message, approximate_tokens, count
from prompts.planner import planner_messages
from prompts.scheduler import scheduler_messages
from runtime.agents.local_llm import serve
from tests.clusters import quiet
from tests.prompt_examples import (
    EXAMPLES,
    deployer,
    scheduler,
)
from twin.testbeds import generate_testbed

GOLDEN = Path(__file__).parent / "golden"
PROMPTS = Path(__file__).parents[2] / "prompts"
DOCS = Path(__file__).parents[2] / "docs" / "prompts.md"


def shown(messages: list[Message]) -> str:
    return "\n".join(f"<{message['role']}>\n{message['content']}\n" for message in messages)


def user(messages: list[Message]) -> str:
    return messages[1]["content"]


def documented(column: int) -> dict[str, int]:
    """A column of numbers in the table of tokens."""
    rows = re.findall(r"^\| `(\w+)` \| ([\d,]+) \| ([\d,]+) \|", DOCS.read_text(encoding="utf-8"), re.MULTILINE)
    return {row[0]: int(row[column].replace(",", "")) for row in rows}


def reported(tokens: dict[str, int]) -> dict[str, int]:
    print("\n" + "\n".join(f"{name:20} {cost:6,}" for name, cost in tokens.items()))
    return tokens


def test_prompts_cost_the_tokens_that_the_documentation_says() -> None:
    assert reported({name: count(make()) for name, make in EXAMPLES.items()}) == documented(1)


def test_prompts_of_a_large_cluster_cost_the_tokens_that_the_documentation_says() -> None:
    cluster = generate_testbed(600, seed=1)
    snapshot, unrestricted = quiet(cluster), MacroPolicy.unrestricted(cluster)
    traffic = {lm.name: {node.name: 1.0 for node in cluster.nodes} for lm in cluster.lms}
    asked = planner_messages(cluster, snapshot=snapshot, traffic=traffic, last=None, baseline=None, recalled=None)
    tokens = {"scheduler": count(scheduler_messages(cluster, snapshot, unrestricted)), "planner": count(asked)}
    for role, cost in reported(tokens).items():
        assert re.search(rf"{role}'s(?: prompt\stakes)? {cost:,}", DOCS.read_text(encoding="utf-8"))


@pytest.mark.live
async def test_prompts_cost_a_small_model_the_tokens_that_the_documentation_says() -> None:
    async with serve() as server:
        tokens = await asyncio.to_thread(tokens_of, server.base_url.removesuffix("/v1"))
    assert reported(tokens) == documented(2)


def tokens_of(server: str) -> dict[str, int]:
    """Tokens of the contents of each example's messages, by the tokenizer of the model that is served."""
    return {
        name: sum(
            len(requests.post(f"{server}/tokenize", json={"content": m["content"]}, timeout=30).json()["tokens"])
            for m in make()
        )
        for name, make in EXAMPLES.items()
    }


def test_the_short_prompts_are_short() -> None:
    for name in ("VM2", "VM3", "VM4", "VM5", "VM6", "VM7"):
        assert count(deployer(name)) < 850
    assert count(scheduler()) < 1100


def test_a_token_is_taken_to_be_four_characters() -> None:
    assert [approximate_tokens("x" * n) for n in (0, 1, 4, 5)] == [0, 1, 1, 2]
