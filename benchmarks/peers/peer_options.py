"""The options of the peers that train with several workers."""

from __future__ import annotations

import argparse


def parser(description: str | None) -> argparse.ArgumentParser:
    """What `bench_peers.py` tells each of them."""
    made = argparse.ArgumentParser(description=description)
    made.add_argument("--recipe", default="fashion-mnist-mlp")
    made.add_argument("--workers", type=int, default=2)
    made.add_argument("--epochs", type=int, required=True)
    made.add_argument("--batch-size", type=int, default=64, help="of one worker's step")
    made.add_argument("--threads", type=int, default=1, help="of one worker, in an operation")
    made.add_argument("--until-accuracy", type=float, default=2.0, help="of the test set: stop when it is as good")
    made.add_argument("--learning-rate", type=float, default=None, help="default: the recipe's")
    made.add_argument("--seed", type=int, default=0)
    return made
