"""The round of `bench_round.py` as Lithops functions on localhost. Prints one JSON line. Runs in .venv-round.

A round: `map` of N functions, each of which reads the parameters from the storage and puts its update there; then one
function that adds the updates in place and puts the new parameters. Everything else is as Lithops has it by default.
"""

from __future__ import annotations

import argparse
import json
import logging
import shutil
import tempfile
import time
from pathlib import Path

import lithops
import numpy as np

BUCKET = "rounds"


def work(worker_index: int, values: int, theta_key: str, update_key: str, storage: lithops.Storage) -> int:
    """One worker's round."""
    theta = np.frombuffer(storage.get_object(BUCKET, theta_key), dtype=np.float32)
    vector = np.full(values, 1.0 + worker_index, dtype=np.float32)
    storage.put_object(BUCKET, update_key, vector.tobytes())
    return int(theta.size)


def average(update_keys: list, theta_key: str, next_key: str, storage: lithops.Storage) -> int:
    """The parameters moved by the mean of the updates."""
    total = None
    for key in update_keys:
        vector = np.frombuffer(storage.get_object(BUCKET, key), dtype=np.float32)
        if total is None:
            total = vector.copy()
        else:
            total += vector
    total /= len(update_keys)
    total += np.frombuffer(storage.get_object(BUCKET, theta_key), dtype=np.float32)
    storage.put_object(BUCKET, next_key, total.tobytes())
    return int(total.size)


def main() -> None:
    """Measure one point."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workers", type=int, required=True)
    parser.add_argument("--values", type=int, required=True)
    parser.add_argument("--rounds", type=int, required=True)
    parser.add_argument("--warm-up", type=int, default=1)
    parser.add_argument("--cores", type=int, default=2)
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    folder = Path(tempfile.mkdtemp(prefix="lithops-round-"))
    config = {
        "lithops": {"backend": "localhost", "storage": "localhost", "log_level": None, "data_cleaner": False},
        "localhost": {"worker_processes": options.cores},
        "localhost_storage": {"storage_bucket": "lithops", "storage_root": str(folder)},
    }
    executor = lithops.FunctionExecutor(config=config, log_level=None)
    storage = executor.storage
    try:
        seconds = [measure(executor, storage, options, index) for index in range(options.warm_up + options.rounds)]
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print(json.dumps({"version": lithops.__version__, "seconds": {"one": seconds[options.warm_up :]}}))


def measure(
    executor: lithops.FunctionExecutor, storage: lithops.Storage, options: argparse.Namespace, index: int
) -> float:
    """Seconds of one round; what it leaves behind is removed untimed."""
    theta_key, next_key = f"theta-{index}", f"theta-{index + 1}"
    if index == 0:
        storage.put_object(BUCKET, theta_key, np.zeros(options.values, dtype=np.float32).tobytes())
    keys = [f"update-{index}-{worker}" for worker in range(options.workers)]
    began = time.perf_counter()
    inputs = [
        {"worker_index": worker, "values": options.values, "theta_key": theta_key, "update_key": key}
        for worker, key in enumerate(keys)
    ]
    executor.get_result(executor.map(work, inputs))
    executor.get_result(
        executor.call_async(average, {"update_keys": keys, "theta_key": theta_key, "next_key": next_key})
    )
    took_s = time.perf_counter() - began
    for key in (*keys, theta_key):
        storage.delete_object(BUCKET, key)
    return took_s


if __name__ == "__main__":
    main()
