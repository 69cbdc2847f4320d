"""What must hold after every step, whatever has gone wrong."""

from __future__ import annotations

from contracts.records import Report, RoundRecord, Run, Task, TaskKey
from model.abstract_work import STEPS, TORN, Origin, origin_named
from model.model_moment import Moment
from model.model_state import Bounds, State, Tables
from runs import paths, stages
from runs.execute import Execution
from training import feature_blocks


class Violation(AssertionError):
    """The model has reached what must never be."""


def hold(condition: bool, promise: str) -> None:
    """Raise unless the promise is kept."""
    if not condition:
        raise Violation(promise)


class Checks:
    """The invariants."""

    def __init__(self, tables: Tables, bounds: Bounds) -> None:
        self._tables, self._bounds = tables, bounds
        self._sound_tasks: dict[int, int] = {}

    def claim(self, run: Run, execution: Execution) -> None:
        """No execution begins in a run that has ended or left the stage."""
        hold(not run.ended, "nothing is claimed in a run that has ended")
        key = execution.task.key
        hold(
            key in stages.required_tasks(run) or key == run.clearing,
            f"{key} belongs to the stage it is claimed in",
        )

    def computed(self, moment: Moment, execution: Execution, report: Report) -> None:
        """What one execution has read and made."""
        key, run, tasks = execution.task.key, moment.run, moment.store.tasks
        damaged = {path.split(".")[1] for path, text in moment.files.contents.items() if text == TORN}
        task = tasks.get(key)
        holds_claim = task is not None and task.claim is not None and task.claim.nonce == execution.nonce
        wanted = not run.ended and (key in stages.required_tasks(run) or key == run.clearing)
        if report.outcome == "failed" and holds_claim and wanted:
            hold(bool(report.voids), f"{key} finds what it needs, undamaged: {report.error}")
            hold(set(report.voids.values()) <= damaged, "what is found torn was damaged")
        if key.kind == "train" and report.outcome != "failed":
            self._trained(execution, report)

    def _trained(self, execution: Execution, report: Report) -> None:
        """A worker begins with the round's parameters and with its own state of the execution that they hold."""
        run, index = execution.run, execution.task.key.index
        begins_with = [origin_named(ref) for ref in run.parameters]
        for ref in report.outputs.values():
            made = origin_named(ref)
            hold(made.writer == execution.nonce == report.nonce, "a report names its own execution's files")
            hold(made.parameters == tuple(o.writer for o in begins_with), "a worker starts from the round's parameters")
            hold(made.steps == report.steps_done, "a file holds as many steps as its report tells")
            state_of = begins_with[0].updates[index] if begins_with[0].updates else begins_with[0].writer
            hold(made.state == state_of, "a worker's state and its combined update come from one execution")
        if report.outcome == "done":
            hold(report.steps_done == STEPS, "no step is left out or done twice")
            hold({"update", "state"} == set(report.outputs), "a worker hands in its update and its state")

    def saved_run(self, moment: Moment, before: Run, run: Run, record: RoundRecord | None) -> None:
        """The run goes forwards only, and each round is committed once, whole."""
        hold(run.status != "FAILED", f"so few faults end no run: {run.error}")
        hold(not before.ended or "resume" in self._bounds.kinds, "an ended run stays as it is")
        forwards = run.round_index - before.round_index
        hold(forwards in (0, 1), f"a run goes from round to round: {before.round_index} → {run.round_index}")
        hold(
            (record is not None) == (forwards == 1 and before.phase != "INITIALISING"), "a new round is a committed one"
        )
        if forwards == 0:
            same = run.parameters == before.parameters or run.phase == "EVALUATING"
            hold(same, "a committed round's parameters never change")
        if record is not None:
            self._committed(moment, before, record)
        if run.plan is not None and before.plan is None and run.settings.backbone_digest:
            self._joined(moment, run)
        if run.status == "FINISHED":
            model = moment.files.contents.get(paths.model_path(run.run_id, "keras"))
            text = ",".join(origin_named(ref).writer for ref in run.parameters)
            hold(run.results["parameters_sha256"] == text == model, "the model is that of the last round")

    def _joined(self, moment: Moment, run: Run) -> None:
        folder = feature_blocks.backbone_folder(run.data_facts, run.settings.backbone_digest)
        hold(f"{folder}/meta.json" in moment.files.contents, "the outputs of the backbone are there before training")
        wanted = [str(block) for block in feature_blocks.plan_blocks(run.data_facts)]
        hold(run.feature_facts["files"]["joined"] == wanted, "every block is joined, once and in order")

    def _committed(self, moment: Moment, before: Run, record: RoundRecord) -> None:
        slices = [origin_named(ref) for ref in record.parameters]
        frozen = tuple(record.inputs[i] for i in range(before.settings.workers))
        begins_with = tuple(origin_named(ref).writer for ref in before.parameters)
        outer = tuple(origin_named(ref).writer for ref in before.outer)
        hold(len(slices) == before.slices, "a round has all its slices")
        for index, made in enumerate(slices):
            hold(made.updates == frozen, f"all slices combine the frozen updates: {made.updates}, frozen {frozen}")
            hold(made.generation == record.generation == before.generation, "all slices are of one generation")
            hold(made.parameters == begins_with[index : index + 1], "a slice continues the slice before it")
            hold(made.state == (outer[index] if outer else ""), "a slice continues its own outer state")
            key = TaskKey(round_index=before.round_index, kind="combine", index=index, generation=before.generation)
            self._same_outer(moment.store.tasks[key], made)
        for index, nonce in enumerate(frozen):
            task = moment.store.tasks[TaskKey(round_index=before.round_index, kind="train", index=index)]
            hold(task.report is not None and task.report.nonce == nonce, "the frozen report is still the worker's")
            made_by = {origin_named(ref).writer for ref in task.report.outputs.values()} if task.report else set()
            hold(made_by == {nonce}, "an update and its worker's state come from one execution")

    def _same_outer(self, task: Task, made: Origin) -> None:
        outer = origin_named(task.report.outputs["outer"]) if task.report else None
        hold(outer == made._replace(kind="outer"), "a slice and its outer state come from one execution")

    def step(self, before: State, after: State) -> None:
        """What every state keeps to."""
        if after.tasks != before.tasks:
            lost = sum(self._sound(number) for number in self._tables.task_sets[after.tasks])
            used = self._bounds.faults - after.faults_left
            ended = self._tables.runs[after.run].ended
            hold(ended or lost <= used, f"{lost} attempts are lost, though only {used} faults happened")
        run = self._tables.runs[after.run]
        if not run.ended and not {"slow execution", "resume"} & self._bounds.kinds:
            self._claims(run, after)
        if run.status == "FINISHED" and not after.executions:
            self._cleared(run, dict(self._tables.file_sets[after.files]))

    def _claims(self, run: Run, state: State) -> None:
        """Where no claim expires too early, each is its execution's until that is over or of no use."""
        wanted = {*stages.required_tasks(run), run.clearing}
        tasks = self._tables.task_map(state.tasks)
        for running in map(self._tables.executions.__getitem__, state.executions):
            claim = tasks[running.key].claim
            own = claim is not None and claim.nonce == running.nonce
            hold(own or running.key not in wanted, "a claim stays with its execution")

    def _sound(self, number: int) -> int:
        """The lost attempts of a task whose counts are right."""
        if number not in self._sound_tasks:
            task = self._tables.tasks[number]
            ended = [record.attempt for record in task.history]
            in_hand = [task.attempt] if task.status in ("OFFERED", "CLAIMED") else []
            if "resume" not in self._bounds.kinds:  # which puts an unclaimed offer back
                hold(ended + in_hand == list(range(1, task.attempt + 1)), f"an attempt that never ran counts: {task}")
                failed = [record for record in task.history if record.outcome in ("lost", "failed")]
                hold(task.failures == len(failed), f"each failure is one of an execution: {task}")
            self._sound_tasks[number] = sum(record.outcome == "lost" for record in task.history)
        return self._sound_tasks[number]

    def _cleared(self, run: Run, files: dict[str, str]) -> None:
        """Of a finished run just what it names is left."""
        named = [*run.parameters, *(run.best.parameters if run.best else ()), run.constants]
        kept = {ref.path for ref in named if ref is not None}
        kept |= {paths.model_path(run.run_id, "keras"), paths.report_path(run.run_id)}
        hold(kept <= set(files), "what a finished run names is there")
        if folder := run.feature_facts.get("folder"):
            kept.add(f"{folder}/meta.json")
            # Who was slow may store a block once more: it is what any other run would store there, too.
            kept |= {path for path in files if path.startswith(f"{folder}/blocks/")}
        left = set(files) - kept
        if "crash" not in self._bounds.kinds:  # which may leave what was written after the clearing-up
            hold(not left, f"nothing else is left of a finished run: {sorted(left)}")
