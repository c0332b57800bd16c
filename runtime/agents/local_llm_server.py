"""The child process of `runtime.agents.local_llm`: llama.cpp's own server around one GGUF file, on loopback.

It runs in a process of its own, so that a model that eats the memory or crashes takes no slot loop with it. It prints
its address as one line of JSON, and ends when its standard input ends: when its parent does, that is, however it dies.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence

from runtime.agents.helper_process import end_with_parent


def main(arguments: Sequence[str] | None = None) -> None:
    """Serve until the standard input ends."""
    parser = argparse.ArgumentParser(
        prog="python -m runtime.agents.local_llm_server", description=__doc__.splitlines()[0]
    )
    parser.add_argument("model", help="GGUF file")
    parser.add_argument("--name", required=True, help="name under which the model is served")
    parser.add_argument("--context", type=int, required=True, help="tokens of prompt and answer, per question")
    parser.add_argument("--parallel", type=int, required=True, help="questions answered side by side")
    parser.add_argument("--threads", type=int, required=True)
    options = parser.parse_args(arguments)
    parent = end_with_parent(sys.stdin.fileno())
    import xllamacpp

    parameters = xllamacpp.CommonParams()
    parameters.model.path = options.model
    parameters.model_alias = {options.name}
    parameters.n_parallel = options.parallel
    parameters.n_ctx = options.context * options.parallel
    parameters.cpuparams.n_threads = parameters.cpuparams_batch.n_threads = options.threads
    parameters.hostnames, parameters.port = ["127.0.0.1"], 0
    parameters.use_jinja = True
    parameters.cache_ram_mib = 256  # of prompts that came before; 8 GiB otherwise
    # Agents are no web pages: no page that a browser shows may ask the model.
    parameters.cors_origins, parameters.ui = "", False
    server = xllamacpp.Server(parameters)
    print(json.dumps({"address": server.listening_address}), flush=True)
    parent.join()


if __name__ == "__main__":
    main()
