"""A peer of `bench_peers.py`: processes under `tf.distribute.MultiWorkerMirroredStrategy`. Prints one JSON line.

Started without `--task` it starts the workers, each a process with TF_CONFIG, at once; the first one prints.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import subprocess
import sys

import peer_options


def addresses(workers: int) -> list[str]:
    """Free ports on loopback. All are held until all are known, so that no two are the same."""
    held = [socket.socket() for _ in range(workers)]
    for one in held:
        one.bind(("127.0.0.1", 0))
    found = [f"127.0.0.1:{one.getsockname()[1]}" for one in held]
    for one in held:
        one.close()
    return found


def start_workers(workers: int) -> int:
    """Start them and wait for all; when one fails, the others are ended. Returns the exit code."""
    cluster = {"worker": addresses(workers)}
    processes = []
    for index in range(workers):
        config = {"cluster": cluster, "task": {"type": "worker", "index": index}}
        command = [sys.executable, __file__, *sys.argv[1:], "--task", str(index)]
        processes.append(subprocess.Popen(command, env=os.environ | {"TF_CONFIG": json.dumps(config)}))
    try:
        running = list(processes)
        while running:
            for process in list(running):
                try:
                    code = process.wait(0.2)
                except subprocess.TimeoutExpired:
                    continue
                running.remove(process)
                if code:
                    return code
    finally:
        for process in processes:
            process.kill()
            process.wait()
    return 0


def main() -> None:
    """Start the workers, or be one."""
    parser = peer_options.parser(__doc__)
    parser.add_argument("--task", type=int, default=None, help="be this worker")
    options = parser.parse_args()
    if options.task is None:
        sys.exit(start_workers(options.workers))
    marks = work(options)
    if options.task == 0:
        print(json.dumps(marks), flush=True)


def work(options: argparse.Namespace) -> dict[str, object]:
    """One worker's training."""
    import multi_worker_loop

    return multi_worker_loop.train(vars(options))


if __name__ == "__main__":
    main()
