"""What the tools show of a snapshot."""

from __future__ import annotations

from tests.clusters import quiet
from tests.memory_nodes import alone, box, lm
from tools.views import node_view


def test_a_memory_that_cpu_and_gpus_share_is_shown_once() -> None:
    cluster = alone(box(1, 0.0, ram_gb=8.0, vram_gb=0.0, unified_memory=True), (lm("chat", 3.0),))
    assert node_view(cluster, quiet(cluster), 0)["free"] == {"cores": 16, "cpu_and_gpu_memory_gb": 8.0, "vgpus": 2}
