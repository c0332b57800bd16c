"""Servers that speak MongoDB's wire protocol, as child processes on loopback, for tests over a real socket."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ParamSpec, Self, TypeVar

import pytest
from pymongo import MongoClient

P = ParamSpec("P")
T = TypeVar("T")


def free_port() -> int:
    """A port on which nothing listens just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class MongoServer:
    """SecantusDB, which keeps its data in WiredTiger as MongoDB does. It can be killed and started again.

    Its licence is the GPL, so it is a program of its own here, and nothing imports it.
    """

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self.uri = f"mongodb://127.0.0.1:{self.port}"
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None

    def command(self) -> list[str]:
        """What starts it in its folder."""
        program = Path(sys.executable).with_name("secantusd-py")
        return [str(program), "--host", "127.0.0.1", "--port", str(self.port), "--storage-path", "data"]

    def start(self) -> Self:
        """Start it and wait until it listens."""
        self._folder.mkdir(exist_ok=True)
        self._process = subprocess.Popen(
            self.command(),
            cwd=self._folder,
            env={**os.environ, "HOME": str(self._folder)},  # not the settings of whoever runs the tests
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline and self._process.poll() is None:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1):
                return self
            time.sleep(0.05)
        self.kill()
        raise RuntimeError(f"{self.command()[0]} does not listen on port {self.port}")

    def kill(self) -> None:
        """End it at once, as a crash would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


class NxServer(MongoServer):
    """nx-27017, which keeps its data in SQLite.

    It sorts whole `_id`s as text and shows what is not committed; the memory needs neither.
    """

    def command(self) -> list[str]:
        """What starts it in its folder."""
        (self._folder / "data").mkdir(exist_ok=True)
        files = ["--data-dir", "data", "--log-file", "log", "--pid-file", "pid"]
        return [sys.executable, "-m", "nx_27017.nx_27017", "--port", str(self.port), *files]


@contextlib.contextmanager
def new_database(uri: str) -> Iterator[str]:
    """The URI of a database of one's own on a server, dropped afterwards."""
    database = f"edgewise_test_{uuid.uuid4().hex[:12]}"
    address, _, options = uri.partition("?")
    scheme, _, rest = address.partition("://")
    try:
        yield f"{scheme}://{rest.partition('/')[0]}/{database}" + (f"?{options}" if options else "")
    finally:
        with MongoClient[dict[str, Any]](uri) as client:
            client.drop_database(database)


def connects(test: Callable[P, T]) -> Callable[P, T]:
    """Mark a test whose client may be closed while it connects: pymongo leaves the socket to the collector then."""
    quiet = pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")
    return quiet(pytest.mark.usefixtures("_half_open_sockets_are_collected")(test))
