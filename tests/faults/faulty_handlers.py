"""The functions of a run that faults are done to: the real use cases, hooks at the gate, training by arithmetic."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import fakes.arithmetic_trainer as arithmetic
from contracts.messages import parse_task
from faults import hooks
from handlers import wiring
from runs import slices
from runs import train as use_case
from runs.combine import clear, combine
from runs.execute import execute
from runs.extract import extract
from runs.prepare import prepare
from training import feature_blocks, vector_files

hooks.install("worker")
slices.SLICE_BYTES, slices.PART_BYTES = 100, 1  # two slices of even the smallest vector
use_case.FIRST_CHUNK_STEPS = 1
if os.environ.get("LAMBDAFIT_TEST_NO_DIGESTS"):  # a mistake that must be found
    vector_files._check = lambda *_: None  # type: ignore[assignment]
    vector_files.PartReader.check = lambda *_: None  # type: ignore[assignment, method-assign]
if parameters := int(os.environ.get("LAMBDAFIT_TEST_PARAMETERS", "0")):
    arithmetic.PARAMETERS, arithmetic.TRAINABLE = parameters, parameters - 1

if hooks.BACKBONE:
    feature_blocks.BLOCK_ROWS = hooks.BLOCK_ROWS

STORE = hooks.GateStore(wiring.environment().store_file)
TRAINER = arithmetic.ArithmeticTrainer()
WORK = {
    "combine": combine,
    "clear": clear,
    "extract": partial(extract, trainer=TRAINER),
    "initialise": partial(use_case.initialise, trainer=TRAINER),
    "train": partial(use_case.train, trainer=TRAINER),
    "evaluate": partial(use_case.evaluate, trainer=TRAINER),
    "prepare": partial(prepare, prepare_data=lambda run: dict(hooks.DATA_FACTS)),
}


def handler(event: Mapping[str, Any], context: wiring.LambdaContext) -> dict[str, Any]:
    """Do one task of any kind."""
    services = replace(wiring.services(), store=STORE)
    return execute(parse_task(event), services, hooks.HurriedDeadline(context), context.aws_request_id, WORK)
