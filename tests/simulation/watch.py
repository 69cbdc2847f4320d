"""What must hold after every step of a simulated world, and at its end. Looks at what has just changed alone."""

from __future__ import annotations

from collections import Counter
from typing import Any

from contracts.records import FileRef, RoundRecord, Run, Task, TaskKey
from runs import budget
from runs.stages import FINAL_CLEAR_INDEX
from simulation.violations import Violation

PHASES = {
    "prepare": "PREPARING",
    "extract": "EXTRACTING",
    "initialise": "INITIALISING",
    "train": "TRAINING",
    "combine": "COMBINING",
    "evaluate": "EVALUATING",
}
CENT = 1e-9
SHARED = "features/"
"""Files that runs share: a name says what its content hashes to, so they are found by looking, and written by many."""


class Watch:
    """Watches one world. Everything it knows, it has seen being written; nothing is taken from the code under test."""

    def __init__(self, world: Any) -> None:
        self.world = world
        self._frozen: dict[tuple[int, int], dict[int, str]] = {}
        self._parameters: dict[int, tuple[Any, ...]] = {}
        self._open_usd: dict[str, float] = {}
        self._held_usd: dict[str, float] = {}
        self._ended_usd = 0.0
        self.offered: set[tuple[TaskKey, int]] = set()
        self.writers: dict[str, tuple[Any, int]] = {}
        self._back: dict[str, int] = {}
        self._executions: dict[str, Any] = {}
        self._final_clear = 0
        self._needed: tuple[int, set[str]] = (-1, set())

    # --- tasks ---

    def task_saved(self, run: Run, old: Task | None, new: Task) -> None:
        """Before a task's next version is stored."""
        before = old or Task(key=new.key)
        if new.status == "OFFERED" or new.backup_attempt:
            self.offered.add((new.key, new.backup_attempt or new.attempt))
        expect(new.version == before.version + 1, "each write follows the one before", new.key)
        had, has = before.claim, new.claim
        is_over = had is not None and (has is None or has.nonce != had.nonce)
        if is_over or new.history is not before.history:
            self._check_history(before, new, is_over)
        expect(had is not None or new.failures <= before.failures, "only what ran can fail", new.key)
        if before.status == "DONE":
            voided = before.report is not None and run.voided.get(new.key.index) == before.report.nonce
            expect(voided and new.status == "OFFERED", "a report that counts is kept", new.key)
        if has is not None and (had is None or is_over):
            self._check_claim(run, before, new)
        elif is_over:
            self._check_end_of_claim(run, before, new)

    def _check_history(self, old: Task, new: Task, is_over: bool) -> None:
        added = new.history[len(old.history) :]
        kept = new.history[: len(old.history)] == old.history
        paid = [record.nonce for record in added] == ([old.claim.nonce] if is_over and old.claim else [])
        expect(kept and paid and all(r.cost_usd > 0 for r in added), "each ended attempt is paid for once", new.key)
        if is_over and old.claim is not None:
            self._open_usd.pop(old.claim.nonce, None)
            self._ended_usd += sum(record.cost_usd for record in added)

    def _check_claim(self, run: Run, old: Task, new: Task) -> None:
        claim, key = new.claim, new.key
        assert claim is not None
        expect(run.status == "RUNNING", "no attempt starts once the run has ended", key, run.status)
        expect(claim.claimed_at < run.deadline_at, "no attempt starts past the deadline", key)
        if key.kind != "clear":
            here = (run.phase, run.round_index) == (PHASES[key.kind], key.round_index)
            here = here and key.generation in (0, run.generation)
            expect(here, "no attempt starts at a stage that is over", key, run.stage)
        on_offer = old.attempt if old.status == "OFFERED" else old.backup_attempt
        expect(claim.attempt == on_offer > 0, "one execution has the claim", key, claim.attempt, old.status)
        self._open_usd[claim.nonce] = self._held_usd[claim.nonce] = budget.attempt_reservation_usd(run, key.kind)
        most_usd = self._ended_usd + sum(self._open_usd.values())
        expect(most_usd <= run.settings.max_cost_usd + CENT, "no attempt starts past the budget", key, most_usd)
        process = self.world.current
        expect(process.nonce == claim.nonce, "a claim is the claimer's own", key)
        process.allowed, process.claimed_turn = self._allowed(run, new), self.world.turns
        self._executions[claim.nonce] = process

    def _check_end_of_claim(self, run: Run, old: Task, new: Task) -> None:
        claim, outcome, process = old.claim, new.history[-1].outcome, self.world.current
        assert claim is not None
        if outcome == "lost":
            over = claim.request_id in self.world.over or run.ended or process.name.startswith("resume")
            late = self.world.now() >= claim.expires_at
            expect(over or late, "a claim ends with its execution or its lease", new.key, claim.nonce)
            return
        if outcome == "superseded":  # not by a backup, which would have the claim
            expect(0 < new.key.generation < run.generation, "a claim ends with its execution or its lease", new.key)
            return
        counts = new.failures == old.failures  # else it failed, or paused without a step
        report = (new.report or new.resume) if counts else None
        named = {process.nonce, claim.nonce} | ({report.nonce} if report else set())
        expect(len(named) == 1, "only the current claim reports", new.key, outcome, named)
        if report is not None:
            expect(not process.wrong, "what read wrong bytes is not accepted", new.key)
            expect(not process.late_view, "what had removed files in view is not accepted", new.key)
            written = all(ref.path in self.world.files.written for ref in report.outputs.values())
            expect(written, "a report names files that were written", new.key)
        if outcome == "done" and new.key.kind == "clear" and new.key.index == FINAL_CLEAR_INDEX:
            self._final_clear = process.claimed_turn

    # --- the run ---

    def run_saved(self, old: Run, new: Run, record: RoundRecord | None) -> None:
        """Before the run's next version is stored."""
        expect(new.version == old.version + 1, "each write follows the one before", "the run")
        expect(old.status != "FINISHED", "a finished run stays as it is", new.stage)
        if new.phase == "COMBINING":
            self._check_frozen(new)
        if record is not None:
            self._check_round(old, new, record)
        if new.phase in ("TRAINING", "COMBINING"):
            parts = tuple(ref.parts for ref in new.parameters)
            known = self._parameters.setdefault(new.round_index, parts)
            expect(known == parts, "a round's parameters never change", new.round_index)

    def _check_frozen(self, run: Run) -> None:
        stage = (run.round_index, run.generation)
        if stage not in self._frozen:
            for index in range(run.settings.workers):
                task = self._train_task(run.round_index, index)
                report = task.report if task is not None and task.status == "DONE" else None
                named = report is not None and run.inputs.get(index) == report.nonce != run.voided.get(index)
                expect(named, "a round combines reports that count", index, run.inputs)
            self._frozen[stage] = dict(run.inputs)
        expect(self._frozen[stage] == run.inputs, "a round combines one set of reports", run.stage)

    def _check_round(self, old: Run, new: Run, record: RoundRecord) -> None:
        round_index = record.round_index
        once = (old.run_id, round_index) not in self.world.store.rounds and round_index == old.round_index
        expect(once and new.round_index == round_index + 1, "a round is committed once", round_index)
        for key, task in self.world.store.tasks_of(round_index).items():
            expect(task.claim is None or key == new.clearing, "what a round leaves behind is paid for", key)
        inputs = self._frozen[round_index, old.generation]
        expect(record.inputs == inputs == new.previous_inputs, "a round combines one set of reports", old.stage)
        updates = {self._update(round_index, index, nonce) for index, nonce in inputs.items()}
        for index in range(old.slices):
            key = TaskKey(round_index=round_index, kind="combine", index=index, generation=old.generation)
            task = self.world.store.tasks.get((old.run_id, key))
            expect(task is not None and task.status == "DONE", "every slice is combined", key)
            read = {path for path in self._executions[task.report.nonce].read if "/updates/" in path}
            expect(read == updates, "every slice combines the frozen reports", key)
        if self.world.expected is not None:
            wanted = self.world.expected.store.rounds[old.run_id, round_index]
            same = [ref.parts for ref in record.parameters] == [ref.parts for ref in wanted.parameters]
            expect(same, "the fault-free run's bits", round_index)
            expect(record.examples == wanted.examples, "each example counts once", round_index)
            expect(record.metrics == wanted.metrics, "the fault-free run's figures", round_index)

    def _train_task(self, round_index: int, index: int) -> Task | None:
        key = TaskKey(round_index=round_index, kind="train", index=index)
        found: Task | None = self.world.store.tasks.get((self.world.run_id_, key))
        return found

    def _update(self, round_index: int, index: int, nonce: str) -> str:
        task = self._train_task(round_index, index)
        expect(task is not None and task.report is not None and task.report.nonce == nonce, "inputs stay named", nonce)
        return str(task.report.outputs["update"].path)  # type: ignore[union-attr]

    # --- files ---

    def reads(self, path: str) -> None:
        """Somebody opens a file."""
        process = self.world.current
        if process is None:
            return
        expect(path in process.allowed or path.startswith(SHARED), "nobody reads what no report named", path)
        process.read.add(path)

    def saw_wrong(self, path: str) -> None:
        """Somebody was shown other bytes than were written: from here on it may say that, and nothing else."""
        if self.world.current is not None:
            self.world.current.wrong = path

    def cleared_in_view(self, path: str) -> None:
        """Somebody had a file in view that was removed: what it saw may have changed after it was checked."""
        if self.world.current is not None:
            self.world.current.late_view = path

    def writes(self, path: str) -> None:
        """Somebody begins to write a file."""
        process = self.world.current
        expect(process is None or not process.wrong, "wrong bytes are never used", path)
        self.writers[path] = (process, self.world.turns)

    def wrote(self, path: str) -> None:
        """The file is there under its name."""
        self.writers[path] = (self.world.current, self.world.turns)

    def came_back(self, path: str) -> None:
        """A removed file is there again after a loss of power."""
        self._back[path] = self.world.turns

    def removes(self, path: str) -> None:
        """Somebody removes a file."""
        if self._needed[0] != self.world.saves:
            self._needed = (self.world.saves, self._named_now())
        expect(path not in self._needed[1], "what is needed is not removed", path)

    def _named_now(self) -> set[str]:
        """All files that the run may still need, where it stands."""
        run = self.world.store.runs[self.world.run_id_]
        refs: list[FileRef | None] = [*run.parameters, run.constants, *(run.best.parameters if run.best else ())]
        if run.phase in ("TRAINING", "COMBINING"):
            refs += [*run.outer, run.initial_state if run.round_index == 1 else None]
            for index, nonce in run.previous_inputs.items():
                task = self._train_task(run.round_index - 1, index)
                refs += (
                    [task.report.outputs.get("state")] if task and task.report and task.report.nonce == nonce else []
                )
        for (_, key), task in self.world.store.tasks.items():
            here = key.round_index == run.round_index and PHASES.get(key.kind) in (run.phase, "TRAINING")
            for report in (task.report, task.resume) if here else ():
                if report is None or key.generation not in (0, run.generation):
                    continue
                counts = report.nonce != run.voided.get(key.index) and run.phase in ("TRAINING", PHASES[key.kind])
                if counts or (key.kind == "train" and run.inputs.get(key.index) == report.nonce):
                    refs += report.outputs.values()
        return {ref.path for ref in refs if ref is not None}

    def _allowed(self, run: Run, task: Task) -> frozenset[str]:
        """The files that an execution may read: those that reports named to it, no more."""
        key = task.key
        refs: list[FileRef | None] = []
        match key.kind:
            case "train":
                refs = [*run.parameters, run.constants]
                before = self._train_task(key.round_index - 1, key.index)
                if task.resume is not None:
                    refs += task.resume.outputs.values()
                elif key.round_index == 1:
                    refs.append(run.initial_state)
                elif before and before.report and before.report.nonce == run.previous_inputs.get(key.index):
                    refs.append(before.report.outputs.get("state"))
            case "combine":
                refs = [*run.parameters[key.index : key.index + 1], *run.outer[key.index : key.index + 1]]
                for index, nonce in self._frozen.get((run.round_index, run.generation), {}).items():
                    other = self._train_task(key.round_index, index)
                    refs += (
                        [other.report.outputs["update"]]
                        if other and other.report and other.report.nonce == nonce
                        else []
                    )
            case "evaluate":
                refs = [*run.parameters, run.constants]
        return frozenset(ref.path for ref in refs if ref is not None)

    # --- power and end ---

    def begin_again(self) -> None:
        """After a loss of power the store says what was; what was seen beyond it is forgotten."""
        store = self.world.store
        run = store.runs[self.world.run_id_]
        self._frozen = {s: i for s, i in self._frozen.items() if s[0] < run.round_index}
        if run.phase == "COMBINING":
            self._frozen[run.round_index, run.generation] = dict(run.inputs)
        tasks = list(store.tasks.values())
        self.offered = {(task.key, task.backup_attempt or task.attempt) for task in tasks}
        self._ended_usd = sum(task.cost_usd for task in tasks)
        open_nonces = {task.claim.nonce for task in tasks if task.claim is not None}
        self._open_usd = {nonce: usd for nonce, usd in self._held_usd.items() if nonce in open_nonces}
        self._needed = (-1, set())

    def check_end(self) -> None:
        """Once the run has ended and nothing moves."""
        world, run = self.world, self.world.store.runs[self.world.run_id_]
        expect(run.ended, "every run ends", run.stage)
        if run.status == "FINISHED":
            left = [str(key) for (_, key), task in world.store.tasks.items() if task.claim is not None]
            expect(not left, "what a round leaves behind is paid for", left)
        else:
            expect(world.gives_up and run.error is not None, "a run goes on where it can", run.reason, run.error)
            return
        wanted = world.expected.store.runs[run.run_id]
        expect(run.results == wanted.results, "the fault-free run's bits", "the final parameters")
        expect(run.examples_seen == wanted.examples_seen, "each example counts once", run.examples_seen)
        expect(
            abs(run.spent_usd - self._ended_usd) < CENT,
            "what was paid is what attempts cost",
            run.spent_usd,
            self._ended_usd,
        )
        last = TaskKey(round_index=run.round_index, kind="clear", index=FINAL_CLEAR_INDEX)
        if world.store.tasks[run.run_id, last].status == "FAILED":
            return  # no reason to lose a trained model
        wanted_names, names = Counter(world.expected.file_names()), Counter(world.file_names())
        left = Counter(world.file_names(self._excused)) - wanted_names
        expect(not left, "the files that should remain", "too many", sorted(left))
        missing = sorted(wanted_names - names)
        expect(not missing, "the files that should remain", "missing", missing)

    def _excused(self, path: str) -> bool:
        """Who died after the last clearing-up had begun could not take back what it wrote, nor could anybody."""
        writer, turn = self.writers.get(path, (None, 0))
        dead = writer is not None and writer.failed
        return (dead and turn >= self._final_clear) or self._back.get(path, -1) >= self._final_clear


def expect(holds: object, invariant: str, *what: object) -> None:
    """Raises Violation unless it holds."""
    if not holds:
        raise Violation(invariant, ", ".join(map(str, what)))
