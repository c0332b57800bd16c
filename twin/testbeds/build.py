"""From the entries of a testbed file to the cluster that the rest of the project computes with."""

from __future__ import annotations

import numpy as np

from domain.cluster import Cluster, Node
from domain.large_model import CpuProfile, GpuProfile, LargeModel
from domain.serving import BatchCurve, Serving
from twin.testbeds.schema import Curve, LmEntry, NodeEntry, Quantity, ServingEntry, TestbedFile

BITS_PER_BYTE, GIGA = 8.0, 1e9


def to_cluster(testbed: TestbedFile) -> Cluster:
    """Turn a sound testbed into a cluster; index n counts its workers, control nodes stand apart."""
    latency_s, seconds_per_byte = _network(testbed)
    return Cluster(
        name=testbed.name,
        nodes=tuple(node_of(node) for node in testbed.workers),
        control_nodes=tuple(node_of(node) for node in testbed.nodes if node.role == "control"),
        lms=tuple(lm_of(lm) for lm in testbed.lms),
        slot_s=testbed.slot_s.value,
        epoch_slots=testbed.epoch_slots,
        deadline_s=testbed.deadline_s.value,
        latency_weight=testbed.latency_weight.value,
        pending_timeout_s=testbed.pending_timeout_s.value,
        serving=serving_of(testbed.serving),
        latency_s=latency_s,
        seconds_per_byte=seconds_per_byte,
    )


def node_of(node: NodeEntry) -> Node:
    """Return the node of an entry."""
    return Node(
        name=node.name,
        site=node.site,
        cpu_model=node.cpu_model,
        cpu_cores=node.whole_cores,
        ram_gb=node.ram_gb.value,
        gpu_model=node.gpu_model if node.gpus else None,
        gpus=node.gpus,
        vgpus_per_gpu=node.vgpus_per_gpu,
        vram_gb=_value(node.vram_gb),
        unified_memory=node.unified_memory,
        spare_cores=round(node.cpu_cores - node.whole_cores, 3),
        mig=node.mig,
    )


def serving_of(serving: ServingEntry) -> Serving:
    """Return the settings of an entry."""
    return Serving(serving.dispatch, serving.news_s.value, serving.batching, serving.copies)


def _curve(curve: Curve) -> BatchCurve:
    return BatchCurve(tuple((size, units.value) for size, units in curve.items())) if curve else BatchCurve()


def _value(quantity: Quantity | None) -> float:
    """The number; 0 where the file has none because nothing asks for it."""
    return 0.0 if quantity is None else quantity.value


def lm_of(lm: LmEntry) -> LargeModel:
    """Return the LM of an entry."""
    return LargeModel(
        name=lm.name,
        model=lm.model,
        modality_in=lm.modality_in,
        modality_out=lm.modality_out,
        ram_gb=lm.ram_gb.value,
        vram_gb=_value(lm.vram_gb),
        gpu_only=lm.gpu_only,
        host_cores=lm.host_cores,
        image_gb=lm.image_gb.value,
        uplink_bytes=lm.uplink_bytes.value,
        downlink_bytes=lm.downlink_bytes.value,
        start_cpu_s=_value(lm.start_cpu_s),
        start_gpu_s=_value(lm.start_gpu_s),
        stop_s=lm.stop_s.value,
        cpu_profiles={
            model: CpuProfile(
                tuple((k, seconds.value) for k, seconds in points.items()), _curve(lm.cpu_batch.get(model, {}))
            )
            for model, points in lm.cpu_profiles.items()
        },
        gpu_profiles={
            model: GpuProfile(speed.fixed_s.value, speed.compute_s.value, _curve(speed.batch))
            for model, speed in lm.gpu_profiles.items()
        },
        unified_gb=None if lm.unified_gb is None else lm.unified_gb.value,
    )


def _network(testbed: TestbedFile) -> tuple[np.ndarray, np.ndarray]:
    """[N, N] latency_s and seconds_per_byte: the links of the sites, then those of the nodes, zero at home."""
    workers = testbed.workers
    members = {
        site: np.array([n for n, node in enumerate(workers) if node.site == site], dtype=np.intp)
        for site in testbed.sites
    }
    index = {node.name: np.array([n], dtype=np.intp) for n, node in enumerate(workers)}
    latency_s = np.zeros((len(workers), len(workers)))
    seconds_per_byte = np.zeros_like(latency_s)
    for link in sorted(testbed.links, key=lambda link: link.nodes is not None):
        ends = [members[site] for site in link.sites] if link.sites else [index[name] for name in link.nodes or ()]
        for a, b in [ends] if link.one_way else [ends, ends[::-1]]:
            latency_s[np.ix_(a, b)] = link.latency_s.value
            seconds_per_byte[np.ix_(a, b)] = BITS_PER_BYTE / (link.gbit_per_s.value * GIGA)
    for matrix in (latency_s, seconds_per_byte):
        np.fill_diagonal(matrix, 0.0)
        matrix.flags.writeable = False
    return latency_s, seconds_per_byte
