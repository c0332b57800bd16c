"""SmolLM2 for real: a child process, HTTP, answers held to a schema, and nothing left behind."""

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import urllib.request
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from domain.errors import InputError
from domain.ledger import Role
from graph.models.asking import Asking
from graph.models.client import default_settings, open_agents, with_base_url
from graph.models.tape import Tape
from runtime.agents.local_llm import LocalServer, serve

pytestmark = [pytest.mark.live, pytest.mark.timeout(300)]

MESSAGES = [
    {"role": "system", "content": "You choose what one edge server runs. Answer in JSON."},
    {"role": "user", "content": "LM1 has a backlog of 12 prompts, LM2 of none. The server has one GPU."},
]
CHOICE = {
    "type": "object",
    "properties": {"mode": {"enum": ["off", "cpu", "gpu"]}, "amount": {"type": "integer", "minimum": 0, "maximum": 8}},
    "required": ["mode", "amount"],
    "additionalProperties": False,
}
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"LM1": CHOICE, "LM2": CHOICE},
    "required": ["LM1", "LM2"],
    "additionalProperties": False,
}
PARENT = """
import asyncio
from runtime.agents.local_llm import serve

async def main():
    async with serve(context=512) as server:
        print(server.process.pid, flush=True)
        await asyncio.sleep(600)

asyncio.run(main())
"""


def settings(server: LocalServer, timeout_s: float = 120.0) -> dict[Role, Any]:
    local = with_base_url({role: default_settings(role) for role in Role}, server.model, server.base_url)
    return {role: replace(own, timeout_s=timeout_s, max_completion_tokens=200) for role, own in local.items()}


async def until_gone(pid: int, seconds: float = 10.0) -> bool:
    """True where the process ends in time; one that only waits to be reaped has ended."""
    for _ in range(int(seconds / 0.05)):
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except FileNotFoundError:
            return True
        await asyncio.sleep(0.05)
    return False


async def test_a_real_model_answers_every_role_in_the_form_it_is_held_to(tmp_path: Path) -> None:
    path = tmp_path / "run.tape"
    async with serve(context=2048) as server, open_agents(settings(server), {}) as agents:
        print(f"\n{server.model}: ready in {server.startup_s:.1f} s")
        with Tape.record(path) as tape:
            attempts = [
                await Asking(agents[role], tape=tape).for_decision(0, role)(MESSAGES, SCHEMA, 0) for role in Role
            ]
        agent = agents[Role.PLANNER]
    for attempt in attempts:
        assert attempt.error is None
        answer = json.loads(str(attempt.answer))
        assert set(answer) == {"LM1", "LM2"}
        for choice in answer.values():
            assert choice["mode"] in ("off", "cpu", "gpu")
            assert isinstance(choice["amount"], int)
        assert 40 < attempt.prompt_tokens < 200
        assert 10 < attempt.completion_tokens <= 200
        rate = attempt.completion_tokens / attempt.seconds
        print(
            f"{attempt.prompt_tokens} prompt + {attempt.completion_tokens} answer tokens "
            f"in {attempt.seconds:.1f} s, {rate:.0f} answer tokens/s"
        )
    assert server.death() is not None, "the server outlived its block"
    with Tape.replay(path) as tape:
        again = await Asking(agent, tape=tape).for_decision(0, Role.PLANNER)(MESSAGES, SCHEMA, 0)
    assert again == attempts[0]


async def test_an_answer_that_gets_too_long_and_a_prompt_that_is_too_long_say_so() -> None:
    async with serve(context=512) as server:
        short = {role: replace(own, max_completion_tokens=4) for role, own in settings(server).items()}
        async with open_agents(short, {}) as agents:
            asking = Asking(agents[Role.DEPLOYER])
            cut = await asking.for_decision(0)(MESSAGES, SCHEMA, 0)
            assert str(cut.error).startswith("truncated: ")
            assert cut.completion_tokens == 4
            flood = [{"role": "user", "content": "prompt " * 2000}]
            full = await asking.for_decision(0)(flood, SCHEMA, 0)
            assert str(full.error).startswith("rejected_by_server: ")
            assert "context size" in str(full.error)


async def test_a_server_that_is_killed_becomes_lost_connections_and_a_sentence(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with serve(context=512) as server, open_agents(settings(server, timeout_s=5.0), {}) as agents:
        os.kill(server.process.pid, signal.SIGKILL)
        await server.process.wait()
        attempt = await Asking(agents[Role.DEPLOYER]).for_decision(0)(MESSAGES, SCHEMA, 0)
        assert str(attempt.error).startswith("connection: ")
    sentence = "the server of SmolLM2-135M-Instruct.Q4_1 was ended by SIGKILL"
    assert server.death() == sentence
    assert sentence in caplog.text


async def test_the_server_ends_when_its_block_is_left_by_an_error() -> None:
    with contextlib.suppress(KeyError):
        async with serve(context=512) as server:
            raise KeyError
    assert await until_gone(server.process.pid)


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
async def test_the_server_ends_when_its_parent_is_ended(end: signal.Signals) -> None:
    # As a file's text would: the parent must not hold more of this test than a user's run would.
    with subprocess.Popen(
        [sys.executable, "-c", PARENT], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as parent:
        assert parent.stdout is not None
        pid = int(await asyncio.to_thread(parent.stdout.readline))
        parent.send_signal(end)
    assert await until_gone(pid)


async def test_no_page_of_a_browser_may_ask_the_model() -> None:
    async with serve(context=512) as server:
        assert server.base_url.startswith("http://127.0.0.1:")
        request = urllib.request.Request(f"{server.base_url}/models", headers={"Origin": "http://evil.test"})
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with await asyncio.to_thread(opener.open, request) as response:
            assert not response.headers["Access-Control-Allow-Origin"]


async def test_weights_that_cannot_be_loaded_and_a_start_that_takes_too_long_are_one_sentence(tmp_path: Path) -> None:
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"GGUF" + bytes(100))
    with pytest.raises(
        InputError, match=r"broken\.gguf cannot be served: the server ended with exit status 1 \(.*GGUF"
    ):
        async with serve(broken):
            pass
    with pytest.raises(InputError, match=r"was not loaded within 0\.01 s"):
        async with serve(startup_limit_s=0.01):
            pass
