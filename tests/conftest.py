"""What holds in every test: no network beyond loopback, and nothing taken from the caller's environment."""

import asyncio
import fcntl
import functools
import ipaddress
import os
import shutil
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpcore2
import pytest
import typer.main
import typer.testing

_MEMORY = Path("/dev/shm")
_ROOM = 2 << 30
"""Bytes that must be free there."""
CALLERS_OWN = ("OPENAI_API_KEY", "OPENAI_BASE_URL", "MONGODB_URI", "LANGSMITH_", "LANGCHAIN_")


def _clean_environment() -> str | None:
    """Forget keys, addresses and tracing before any library reads them; hand back MONGODB_URI."""
    mongodb_uri = os.environ.get("MONGODB_URI")
    for name in [name for name in os.environ if name.startswith(CALLERS_OWN)]:
        del os.environ[name]
    # Read once, when langgraph is imported: a type that the graph's state does not name fails loudly.
    os.environ["LANGGRAPH_STRICT_MSGPACK"] = "true"
    return mongodb_uri


def _refuse_unless_loopback(host: str) -> None:
    try:
        loopback = ipaddress.ip_address(host.partition("%")[0]).is_loopback
    except ValueError:
        loopback = host == "localhost"
    if not loopback:
        raise RuntimeError(f"A test tried to reach {host}: tests may talk to loopback only")


def _guarded(method: Callable[..., Any]) -> Callable[..., Any]:
    """The socket method, whose last argument is the address, for loopback alone."""

    def call(self: socket.socket, *args: Any) -> Any:
        if self.family in (socket.AF_INET, socket.AF_INET6):
            _refuse_unless_loopback(args[-1][0])
        return method(self, *args)

    return call


def _guarded_lookup(lookup: Callable[..., Any]) -> Callable[..., Any]:
    """The name look-up, which asks a server for any name but localhost; an address asks nobody."""

    def call(host: bytes | str | None, *args: Any, **kwargs: Any) -> Any:
        name = host.decode() if isinstance(host, bytes) else host
        if name and not name.replace(".", "").isdigit() and ":" not in name:
            _refuse_unless_loopback(name)
        return lookup(host, *args, **kwargs)

    return call


MONGODB_URI = _clean_environment()
# Until Python 3.12, looptime's question for the loop of a synchronous test would make one that nobody closes.
asyncio.set_event_loop(None)
# Never undone: what runs after a test, in a thread or at exit, is guarded too.
_guard = pytest.MonkeyPatch()
for _name in ("connect", "connect_ex", "sendto"):
    _guard.setattr(socket.socket, _name, _guarded(getattr(socket.socket, _name)))
_guard.setattr(socket, "getaddrinfo", _guarded_lookup(socket.getaddrinfo))
# Made anew for each client and for each command that is typed, and the same each time: tens of milliseconds a test.
_guard.setattr(httpcore2, "default_ssl_context", functools.cache(httpcore2.default_ssl_context))
_guard.setattr(typer.testing, "_get_command", functools.cache(typer.main.get_command))
# Where memory can hold the folders of the tests, nothing waits for a disk.
if os.access(_MEMORY, os.W_OK) and shutil.disk_usage(_MEMORY).free > _ROOM:
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(_MEMORY))


@pytest.fixture(scope="module")
def mongodb(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URI of a server for live tests: the one in MONGODB_URI, else one of the module's own."""
    if MONGODB_URI:
        yield MONGODB_URI
        return
    from tests.mongo_server import MongoServer

    server = MongoServer(tmp_path_factory.mktemp("mongodb")).start()
    yield server.uri
    server.kill()


@pytest.fixture(scope="module")
def small_effort() -> Iterator[None]:
    """Rehearsals and bounds cost little unless a test says otherwise."""
    from tests.effort import little_effort

    with little_effort():
        yield


@pytest.fixture(scope="module")
def little_time() -> Iterator[None]:
    """What-ifs cost little: nothing is drawn, and a few resamples are taken."""
    from tests.recordings import in_little_time

    with in_little_time():
        yield


@pytest.fixture(scope="session")
def recorded_runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run folders of every way to make one, made by the first worker that needs them; nobody changes them."""
    from tests.recordings import record

    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent
    runs = shared / "recorded-runs"
    with (shared / "recorded-runs.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not runs.exists():
            record(tmp_path_factory.mktemp("recording")).rename(runs)
    return runs
