"""A frozen backbone's outputs for all examples, computed once: the tasks of EXTRACTING, and what follows on them.

Each worker computes its stretch of blocks and stores every one as soon as it is there, so that a time limit or a
crash loses at most one. What an execution before it, or another run, has left is taken, if every byte of it is right.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from contracts.errors import HomeNotWritable, RecipeFailed, TornFile
from contracts.ports import SharedFiles
from contracts.records import Report, Run, TaskKey
from runs.execute import Execution
from runs.stages import extracting_workers
from runs.trainer import Trainer
from runs.worker_telemetry import flush_s, show_blocks
from training import feature_blocks
from training.feature_blocks import MAX_FEATURES, Block, backbone_folder, part_of, plan_blocks
from training.vector_files import Vector


def extract(execution: Execution, trainer: Trainer) -> Report:
    """Compute one worker's blocks, or as many as fit into the time limit; none where another run has joined them all.

    Facts: `digests` of its blocks, in order; `width`, values of an example; `computed`, the blocks that were not there.
    """
    run, files, resume = execution.run, execution.services.files, execution.task.resume
    folder = backbone_folder(run.data_facts, run.settings.backbone_digest)
    blocks = _own_blocks(run, execution.task.key.index)
    digests: list[str] = list(resume.facts["digests"]) if resume else []
    width, computed = (int(resume.facts["width"]), int(resume.facts["computed"])) if resume else (0, 0)
    longest_s, shown_at = 0.0, execution.services.clock.now()
    with execution.span("compute"):
        joined = feature_blocks.joined_features(files, folder)
        present = feature_blocks.blocks_present(files, folder)
        for block in blocks[len(digests) :]:
            if joined is not None or execution.spare_s <= longest_s:
                break
            execution.check_wanted()
            began = execution.services.clock.now()
            features = _left_behind(files, folder, block, present)
            if features is None:
                features = _computed(run, trainer, block)
                computed += 1
                try:
                    present[str(block)] = feature_blocks.write_block(files, folder, block, features)
                except HomeNotWritable:
                    joined = feature_blocks.joined_features(files, folder)
                    if joined is None:
                        raise
                    break  # another run has joined its blocks meanwhile, and removed their folder
            digests.append(present[str(block)])
            width = features.shape[1]
            now = execution.services.clock.now()
            longest_s = max(longest_s, now - began)
            if now - shown_at >= flush_s(run):
                show_blocks(execution, len(digests))
                shown_at = now
    return Report(
        outcome="done" if joined is not None or len(digests) == len(blocks) else "paused",
        nonce=execution.nonce,
        facts={"digests": digests, "width": joined["width"] if joined else width, "computed": computed},
        steps_done=len(digests),
        fingerprint=trainer.fingerprint,
        peak_memory_bytes=trainer.peak_memory_bytes(),
        spans=tuple(execution.spans),
    )


def joined_features(execution: Execution, trainer: Trainer) -> dict[str, Any]:
    """The facts of the outputs that a run trains on: as they are there, or joined now. Empty for a run without.

    Raises:
        TornFile: a block is damaged again as soon as it is written.
        DiskFull, HomeNotWritable: they cannot be written.
    """
    run, files = execution.run, execution.services.files
    if not run.settings.backbone_digest or "files" in run.feature_facts:
        return run.feature_facts
    folder = backbone_folder(run.data_facts, run.settings.backbone_digest)
    found = feature_blocks.joined_features(files, folder)  # another run was faster, or an execution before this one
    if found is not None:
        feature_blocks.remove_blocks(files, folder)
        return found
    with execution.span("write"):
        try:
            return _join(execution, trainer, folder)
        except (TornFile, HomeNotWritable):
            found = feature_blocks.joined_features(files, folder)
            if found is None:
                raise
            return found  # another run has joined them meanwhile, and removed blocks or what was being written


def _join(execution: Execution, trainer: Trainer, folder: str) -> dict[str, Any]:
    """All blocks that were reported, as one array a split."""
    run, services = execution.run, execution.services
    stored: list[tuple[Block, str]] = []
    for index in range(extracting_workers(run)):
        task = services.store.load_task(run.run_id, TaskKey(round_index=0, kind="extract", index=index))
        assert task is not None and task.report is not None  # noqa: S101 - EXTRACTING is over
        stored += zip(_own_blocks(run, index), task.report.facts["digests"], strict=True)
    try:
        return feature_blocks.join_blocks(services.files, folder, stored)
    except TornFile:
        if feature_blocks.joined_features(services.files, folder) is not None:
            raise
    whole = [_whole(execution, trainer, folder, block, digest) for block, digest in stored]
    return feature_blocks.join_blocks(services.files, folder, whole)


def _whole(execution: Execution, trainer: Trainer, folder: str, block: Block, digest: str) -> tuple[Block, str]:
    """A block as it was reported, or computed again where it was damaged or lost since."""
    files = execution.services.files
    if _left_behind(files, folder, block, {str(block): digest}) is None:
        execution.check_wanted()
        digest = feature_blocks.write_block(files, folder, block, _computed(execution.run, trainer, block))
    return block, digest


def _own_blocks(run: Run, worker_index: int) -> list[Block]:
    return list(part_of(plan_blocks(run.data_facts), extracting_workers(run), worker_index))


def _left_behind(files: SharedFiles, folder: str, block: Block, present: dict[str, str]) -> Vector | None:
    """A block that is there already and whole, shape (rows, width)."""
    digest = present.get(str(block))
    if digest is None:
        return None
    with suppress(TornFile):
        return feature_blocks.read_block(files, folder, block, digest)
    return None


def _computed(run: Run, trainer: Trainer, block: Block) -> Vector:
    features = trainer.features(run, block.split, block.low, block.high)  # (rows, width)
    rows = block.high - block.low
    if features.ndim != 2 or len(features) != rows or not 0 < features.shape[1] <= MAX_FEATURES:
        expected = f"({rows}, at most {MAX_FEATURES}): pool the backbone's output"
        raise RecipeFailed("build_backbone", f"its output has the shape {features.shape}", expected)
    return features
