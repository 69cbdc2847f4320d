"""The round of `bench_round.py` as Ray tasks over its object store. Prints one JSON line. Runs in .venv-round.

A round: N tasks read the parameters into memory of their own and return an update that lies ready; one task adds the
updates in place and returns the new parameters. With `--tree`, four updates at a time are added by a task of their own.
"""

from __future__ import annotations

import argparse
import json
import os
import time

os.environ.update(RAY_USAGE_STATS_ENABLED="0", RAY_DEDUP_LOGS="0", RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO="0")

import numpy as np
import ray
from ray._private import services

FAN_IN = 4


READY: dict[int, np.ndarray] = {}
"""What each worker hands in, made once a process."""


@ray.remote
def update(theta: np.ndarray, worker_index: int) -> np.ndarray:
    """One worker's round."""
    own = theta.copy()  # arguments are views on the store; a worker needs the values as its own
    if worker_index not in READY:
        READY[worker_index] = np.full(own.size, 1.0 + worker_index, dtype=np.float32)
    return READY[worker_index]


@ray.remote
def add(*vectors: np.ndarray) -> np.ndarray:
    """The sum, in place."""
    total = vectors[0].copy()
    for vector in vectors[1:]:
        total += vector
    return total


@ray.remote
def average(theta: np.ndarray, workers: int, *vectors: np.ndarray) -> np.ndarray:
    """The parameters moved by the mean of the updates."""
    total = vectors[0].copy()
    for vector in vectors[1:]:
        total += vector
    total /= workers
    total += theta
    return total


def one_round(theta: ray.ObjectRef, workers: int, tree: bool) -> ray.ObjectRef:
    """The next parameters; returns when they are there."""
    parts = [update.remote(theta, index) for index in range(workers)]
    if tree and workers > FAN_IN:
        parts = [add.remote(*parts[low : low + FAN_IN]) for low in range(0, workers, FAN_IN)]
    theta = average.remote(theta, workers, *parts)
    ray.wait([theta], fetch_local=False)
    return theta


def main() -> None:
    """Measure one point."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workers", type=int, required=True)
    parser.add_argument("--values", type=int, required=True)
    parser.add_argument("--rounds", type=int, required=True)
    parser.add_argument("--warm-up", type=int, default=3)
    parser.add_argument("--cores", type=int, default=2)
    options = parser.parse_args()
    # Ray listens on all addresses where its own is not 127.0.0.1, and replaces that by another unless told not to.
    services.resolve_ip_for_localhost = lambda address: address
    services.get_node_ip_address = lambda *_: "127.0.0.1"
    ray.init(
        num_cpus=options.cores,
        include_dashboard=False,
        log_to_driver=False,
        configure_logging=False,
        _node_ip_address="127.0.0.1",
        object_store_memory=max(2 * 10**9, 6 * options.values * 4 * (options.workers + 2)),
    )
    variants = [False, True] if options.workers > FAN_IN else [False]
    seconds: dict[str, list[float]] = {}
    for tree in variants:
        theta = ray.put(np.zeros(options.values, dtype=np.float32))
        times = []
        for _ in range(options.warm_up + options.rounds):
            began = time.perf_counter()
            theta = one_round(theta, options.workers, tree)
            times.append(time.perf_counter() - began)
        seconds["tree" if tree else "one"] = times[options.warm_up :]
        last = ray.get(theta)
        expected = (options.warm_up + options.rounds) * (options.workers + 1) / 2
        if not np.isclose(last[0], expected) or not np.isclose(last[-1], expected):
            raise SystemExit(f"the sum is wrong: {last[0]}, expected {expected}")
    ray.shutdown()
    print(json.dumps({"version": ray.__version__, "seconds": seconds}))


if __name__ == "__main__":
    main()
