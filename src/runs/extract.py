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

    Facts: `digests` of its blocks, in order; `width`, values of an example; `computed`, the blocks that were not there;
    `joined`, whether it left the rest out, as another run had joined all.
    """
    run, files, resume = execution.run, execution.services.files, execution.task.resume
    folder = backbone_folder(run.data_facts, run.settings.backbone_digest)
    blocks = _own_blocks(run, execution.task.key.index)
    digests: list[str] = list(resume.facts["digests"]) if resume else []
    width, computed = (int(resume.facts["width"]), int(resume.facts["computed"])) if resume else (0, 0)
    longest_s, shown_at = 0.0, execution.services.clock.now()
    joined: dict[str, Any] | None = None
    with execution.span("compute"):
        present = feature_blocks.blocks_present(files, folder)
        for block in blocks[len(digests) :]:
            if execution.spare_s <= longest_s:
                break
            execution.check_wanted()
            began = execution.services.clock.now()
            features = _left_behind(files, folder, block, present)
            if features is None:
                joined = feature_blocks.joined_features(files, folder)
                if joined is not None:
                    break  # another run has joined its blocks, and removed their folder
                features = _computed(run, trainer, block)
                computed += 1
                present[str(block)] = _written(files, folder, block, features)
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
        facts={
            "digests": digests,
            "width": joined["width"] if joined else width,
            "computed": computed,
            "joined": joined is not None,
        },
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
    stored = _reported(execution)
    with execution.span("write"):
        try:
            return feature_blocks.join_blocks(files, folder, stored)
        except (TornFile, HomeNotWritable):
            pass  # blocks were damaged, or another run has joined them, or removed what was being written
        whole = _whole(execution, trainer, folder, stored)
        try:
            return feature_blocks.join_blocks(files, folder, whole)
        except (TornFile, HomeNotWritable):
            found = feature_blocks.joined_features(files, folder)
            if found is None:
                raise
            return found


def _reported(execution: Execution) -> list[tuple[Block, str]]:
    """All blocks with the digests that were reported; none where a worker found that another run had joined all."""
    run, store = execution.run, execution.services.store
    stored: list[tuple[Block, str]] = []
    for index in range(extracting_workers(run)):
        task = store.load_task(run.run_id, TaskKey(round_index=0, kind="extract", index=index))
        assert task is not None and task.report is not None  # noqa: S101 - EXTRACTING is over
        blocks, facts = _own_blocks(run, index), task.report.facts
        left_out = [""] * (len(blocks) - len(facts["digests"])) if facts["joined"] else []
        stored += zip(blocks, [*facts["digests"], *left_out], strict=True)
    return stored


def _whole(
    execution: Execution, trainer: Trainer, folder: str, stored: list[tuple[Block, str]]
) -> list[tuple[Block, str]]:
    """The same blocks; those that were damaged or lost since are computed again, unless another run has joined all."""
    files = execution.services.files
    whole = []
    for block, digest in stored:
        if not digest or _left_behind(files, folder, block, {str(block): digest}) is None:
            if feature_blocks.joined_features(files, folder) is not None:
                return stored
            execution.check_wanted()
            digest = _written(files, folder, block, _computed(execution.run, trainer, block))
        whole.append((block, digest))
    return whole


def _written(files: SharedFiles, folder: str, block: Block, features: Vector) -> str:
    """Store a block; once more where another run, which has joined its blocks, was removing their folder."""
    try:
        return feature_blocks.write_block(files, folder, block, features)
    except HomeNotWritable:
        return feature_blocks.write_block(files, folder, block, features)


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
