"""A peer of `bench_peers.py`: Ray Train's TensorflowTrainer. Prints one JSON line. Runs in .venv-peers.

Each worker has one processor and does what those of `multi_worker.py` do. All of Ray listens on loopback only.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from pathlib import Path
from typing import Any

os.environ.update(RAY_USAGE_STATS_ENABLED="0", RAY_DEDUP_LOGS="0", RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO="0")

import peer_options
import ray
from ray import train
from ray._private import services
from ray.train.tensorflow import TensorflowTrainer

STORE_BYTES = 256 * 10**6
"""Of Ray's object store, which holds next to nothing here: workers read the data themselves."""


def work(options: dict[str, Any]) -> None:
    """One worker's training; the first one writes its marks down."""
    import multi_worker_loop

    marks = multi_worker_loop.train(options)
    if train.get_context().get_world_rank() == 0:
        Path(options["marks"]).write_text(json.dumps(marks))


def main() -> None:
    """Train, and print the first worker's marks."""
    options = peer_options.parser(__doc__).parse_args()
    # Ray listens on all addresses where its own is not 127.0.0.1, and replaces that by another unless told not to.
    services.resolve_ip_for_localhost = lambda address: address
    services.get_node_ip_address = lambda *_: "127.0.0.1"
    with tempfile.TemporaryDirectory(prefix="ray-", ignore_cleanup_errors=True) as folder:
        marks = train_in(folder, options)
    print(json.dumps(marks | {"versions": {"ray": ray.__version__}}), flush=True)


def train_in(folder: str, options: argparse.Namespace) -> dict[str, Any]:
    """Train, with all that Ray writes in `folder`; the first worker's marks."""
    written = Path(folder) / "marks.json"
    ray.init(
        num_cpus=options.workers,
        include_dashboard=False,
        log_to_driver=False,
        configure_logging=False,
        _node_ip_address="127.0.0.1",
        _temp_dir=folder,
        object_store_memory=STORE_BYTES,
    )
    trainer = TensorflowTrainer(
        work,
        train_loop_config=vars(options) | {"marks": str(written)},
        scaling_config=train.ScalingConfig(num_workers=options.workers, resources_per_worker={"CPU": 1}),
        run_config=train.RunConfig(storage_path=folder),
    )
    trainer.fit()
    ray.shutdown()
    marks: dict[str, Any] = json.loads(written.read_text())
    return marks


if __name__ == "__main__":
    main()
