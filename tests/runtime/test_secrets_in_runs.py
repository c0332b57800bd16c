"""No key and no password gets into any file of a run or onto the terminal, wherever a server or a model puts it."""

from __future__ import annotations

import json
import random
import string
from pathlib import Path

import pytest
from aiohttp import web
from typer.testing import CliRunner, Result

import runtime.runs.experiment
from memory.secrets import PART
from runtime.cli.program import app
from tests.agent_server import contents, role_of, serving, sound_answers
from tests.fake_openai import Behaviour, Body, fails, refuses, says
from tests.testbed_files import SMALL, write
from twin.testbeds import read_testbed
from twin.testbeds.build import to_cluster

pytestmark = pytest.mark.usefixtures("small_effort")


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own_without_figures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(runtime.runs.experiment, "draw", lambda summary, folder: [])


def a_key(rng: random.Random) -> str:
    """Any characters that a header takes."""
    return "".join(rng.choices(string.ascii_letters + string.digits + "-_/+=%&'\"\\{}", k=rng.randint(20, 60)))


def throws_back(secrets: list[str], folder: Path, rng: random.Random) -> Behaviour:
    """A server, and a model on it, that put secrets wherever they can."""
    answer = sound_answers(to_cluster(read_testbed(folder / "small.yaml")))

    async def behave(request: web.Request, body: Body) -> web.StreamResponse:
        assert request.headers["Authorization"] == f"Bearer {secrets[0]}"
        secret, before = rng.choice(secrets), "x" * rng.randint(0, 320)
        whole = f"{before} I know {secret} and {secret!r}"
        told = f"{whole}, but not {secret[: rng.randint(0, 60)]}… nor …{secret[-rng.randint(1, 60) :]}"
        held = "json_schema" in body.get("response_format", {})  # after a 400 answers are held to less and less
        sound = json.loads(answer(role_of(body), contents(body))) if held else {}
        replies: list[Behaviour] = [
            fails(rng.choice([400, 401, 404]), told),
            refuses(told),
            says(whole),
            says(told, finish="length"),
            says(json.dumps({**sound, "reasoning": f"I know {secret}"})),
            says(json.dumps({**sound, f"about {secret}": secret}, ensure_ascii=False)),
            says(json.dumps({**sound, "routes": {secret: {secret: "a"}}, "roles": {secret: [secret]}})),
        ]
        if rng.random() < 0.1:
            return web.Response(text=told, status=rng.choice([200, 401]), content_type="text/html")
        return await rng.choice(replies)(request, body)

    return behave


def edgewise(*arguments: str, **environ: str) -> Result:
    return CliRunner().invoke(app, arguments, prog_name="edgewise", env={"COLUMNS": "100", **environ})


def found(secrets: list[str], result: Result, folder: Path) -> list[str]:
    """Where parts of secrets are."""
    places = {"stdout": result.stdout.encode(), "stderr": result.stderr.encode()}
    places |= {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    parts = [secret[at : at + PART].encode() for secret in secrets for at in range(len(secret) - PART + 1)]
    return [f"{part!r} in {name}" for name, content in places.items() for part in parts if part in content]


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.live) for seed in range(1, 4))])
def test_no_part_of_a_secret_is_in_any_file_of_a_run_or_on_the_terminal(seed: int, tmp_path: Path) -> None:
    rng = random.Random(seed)
    write(tmp_path, SMALL)
    key, token, password = a_key(rng), a_key(rng), "".join(rng.choices(string.ascii_letters, k=24))
    environ = {"OPENAI_API_KEY": key, "OTHER_TOKEN": token, "MONGODB_URI": f"mongodb://ada:{password}@127.0.0.1:1/x"}
    secrets = [key, token, password]
    with serving(throws_back(secrets, tmp_path, rng)) as server:
        words = "run -t small.yaml -f MA --slots 12 --rehearse off --memory m.sqlite --tape run.tape --trace --out run"
        result = edgewise(*words.split(), "--base-url", server.base_url, "--model", "m", **environ)
        assert result.exit_code == 0, result.output
        assert len(server.requests) > 10
    assert found(secrets, result, tmp_path) == []
    modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.rglob("*") if path.is_file()}
    private = ["m.sqlite", "run.tape", "trace.jsonl", "checkpoints.sqlite"]
    assert {name: modes[name] for name in private} == dict.fromkeys(private, 0o600)


@pytest.mark.parametrize(
    ("option", "address"),
    [
        ("--base-url", "http://127.0.0.1:1/v1?api_key={}"),
        ("--base-url", "http://ada:{}@127.0.0.1:1/v1"),
        ("--base-url", "ada:{}@127.0.0.1:1/v1"),
        ("--memory", "mongodb://ada:{}@127.0.0.1:1/x"),
        ("--memory", "mongodb://127.0.0.1:1/x?tlsCertificateKeyFilePassword={}"),
    ],
)
def test_an_address_that_holds_a_secret_is_refused_and_written_nowhere(
    option: str, address: str, tmp_path: Path
) -> None:
    key = "q8ZtPw3kYc5LmN1v"
    result = edgewise("run", "-f", "MA", "--slots", "1", "--out", "run", option, address.format(key))
    assert result.exit_code == 2
    assert result.stderr.startswith("edgewise: ")
    assert result.stderr.count("\n") == 1
    assert found([key], result, tmp_path) == []
    assert list(tmp_path.iterdir()) == []
