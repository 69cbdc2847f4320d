"""Where a run's files lie. Names carry the nonce of the execution that wrote them, so attempts never mix."""

from __future__ import annotations

from contracts.identifiers import check_relative_path, check_run_id

ROUND_FOLDERS = ("parameters", "updates", "state", "outer", "constants")
"""Folders that hold one folder a round, which clearing up removes whole."""


def run_folder(run_id: str) -> str:
    """The folder of everything that a run writes."""
    return f"runs/{check_run_id(run_id)}"


def round_folder(run_id: str, kind: str, round_index: int) -> str:
    """The folder of one kind of file of one round."""
    return f"{run_folder(run_id)}/{kind}/{round_index:06d}"


def parameters_path(run_id: str, round_index: int, slice_index: int, slices: int, nonce: str) -> str:
    """One slice of the parameters that a round ends with."""
    folder = round_folder(run_id, "parameters", round_index)
    return f"{folder}/slice-{slice_index:02d}-of-{slices:02d}.{nonce}.npy"


def outer_path(run_id: str, round_index: int, slice_index: int, slices: int, nonce: str) -> str:
    """The outer optimizer's state beside that slice."""
    folder = round_folder(run_id, "outer", round_index)
    return f"{folder}/slice-{slice_index:02d}-of-{slices:02d}.{nonce}.safetensors"


def update_path(run_id: str, round_index: int, worker_index: int, nonce: str) -> str:
    """What one worker hands in."""
    return f"{round_folder(run_id, 'updates', round_index)}/worker-{worker_index:04d}.{nonce}.npy"


def state_path(run_id: str, round_index: int, worker_index: int, nonce: str) -> str:
    """A worker's own state after a round, or its checkpoint within one."""
    return f"{round_folder(run_id, 'state', round_index)}/worker-{worker_index:04d}.{nonce}.safetensors"


def initial_state_path(run_id: str, nonce: str) -> str:
    """Every worker's state before the first round."""
    return f"{round_folder(run_id, 'state', 0)}/initial.{nonce}.safetensors"


def constants_path(run_id: str, nonce: str) -> str:
    """The frozen variables, which no round changes."""
    return f"{round_folder(run_id, 'constants', 0)}/constants.{nonce}.safetensors"


def model_path(run_id: str, suffix: str) -> str:
    """The finished model: suffix `keras` or `safetensors`."""
    return f"{run_folder(run_id)}/model.{suffix}"


def report_path(run_id: str) -> str:
    """The finished run's figures as JSON."""
    return f"{run_folder(run_id)}/report.json"


def export_path(run_id: str, name: str) -> str:
    """A file or folder made for somebody who copies and then removes it."""
    return check_relative_path(f"{run_folder(run_id)}/export-{name}")
