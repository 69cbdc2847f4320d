"""A worker's round: pauses, chunks and warm environments change no bit; its update is what the maths says."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from small_recipes import (
    EVERYTHING,
    FEATURES,
    compiled,
    data,
    results,
    run_through,
    shared,
    started,
    with_model,
    work,
)

from contracts.errors import NoExamples, NotFinite, RecipeFailed, ShapeMismatch
from training.compiled import CompiledRecipe
from training.loop import ShardRun

TOTAL_STEPS = 5


@pytest.fixture(scope="module")
def recipe() -> CompiledRecipe:
    return shared()


@pytest.fixture(scope="module")
def expected(recipe: CompiledRecipe) -> dict[str, bytes]:
    run, theta = started(recipe)
    run_through(run)
    return results(run, theta)


def test_steps_are_cut_inside_the_pieces(recipe: CompiledRecipe) -> None:
    run, _ = started(recipe)
    first, rest = run.advance(2), run.advance(100)
    assert (first.first_step, first.examples) == (0, (8, 8))
    assert (rest.first_step, rest.examples) == (2, (5, 8, 4))
    assert len(rest.losses) == len(rest.durations_ms) == 3
    assert all(ms > 0 for ms in rest.durations_ms)
    assert (run.step, run.total_steps, run.examples, run.finished) == (TOTAL_STEPS, TOTAL_STEPS, 33, True)
    losses = np.array(first.losses + rest.losses)
    assert run.mean_loss == pytest.approx(losses @ [8, 8, 5, 8, 4] / 33)


@pytest.mark.parametrize("chunk", [1, 3])
def test_chunks_change_no_bit(recipe: CompiledRecipe, expected: dict[str, bytes], chunk: int) -> None:
    run, theta = started(recipe)
    run_through(run, chunk)
    assert results(run, theta) == expected


@pytest.mark.parametrize("sync", ["local", "gradients"])
@pytest.mark.parametrize("where", ["same environment", "fresh environment"])
def test_a_pause_after_any_step_changes_no_bit(sync: Any, where: str) -> None:
    first = shared(sync)
    run, theta = started(first)
    _, constants, _ = first.initial(5)
    checkpoints = [run.checkpoint()]
    while not run.finished:
        run.advance(1)
        checkpoints.append(run.checkpoint())
    wanted = results(run, theta)
    second = first if where == "same environment" else compiled(sync=sync)
    other, _ = started(second, work(sync, seed=99, round_index=7), seed=99)
    other.advance(2)
    for step, checkpoint in enumerate(checkpoints):
        resumed = ShardRun(second, work(sync), *data())
        assert resumed.restore(constants, checkpoint) == step
        run_through(resumed)
        assert results(resumed, theta) == wanted


def test_a_warm_environment_gives_the_bits_of_a_cold_one(expected: dict[str, bytes]) -> None:
    warm = compiled()
    other_seed, _ = started(warm, work(seed=1, round_index=9, worker_index=3), seed=1)
    run_through(other_seed)
    between = compiled(with_model(build_regularised, settings={"decay": 0.1, "learning_rate": 0.1}))
    run_through(started(between)[0])
    run, theta = started(warm)
    run_through(run)
    assert results(run, theta) == expected


def test_seeds_come_from_seed_round_and_worker(recipe: CompiledRecipe, expected: dict[str, bytes]) -> None:
    for changes in ({"seed": 6}, {"round_index": 3}, {"worker_index": 0}):
        run, theta = started(recipe, work(**changes))
        run_through(run)
        assert results(run, theta)["update"] != expected["update"]


def test_arrays_given_may_be_changed_afterwards(recipe: CompiledRecipe, expected: dict[str, bytes]) -> None:
    theta, constants, initial = recipe.initial(5)
    state = {name: value.copy() for name, value in initial.items()}
    run = ShardRun(recipe, work(), *data())
    kept = theta.copy()
    run.start(theta, constants, state)
    theta += 1
    for tensor in state.values():
        tensor += 1
    run.advance(2)
    paused = run.checkpoint()
    before = {name: value.copy() for name, value in paused.items()}
    assert not any(paused[name].flags.writeable for name in before if not name.startswith("progress/"))
    run_through(run)
    assert all((paused[name] == value).all() for name, value in before.items())
    assert results(run, kept) == expected


def test_local_update_is_the_change(recipe: CompiledRecipe) -> None:
    run, theta = started(recipe)
    run_through(run)
    assert theta + run.update(theta) == pytest.approx(recipe.variables.flatten(), abs=1e-6)
    statistics = run.update(theta)[recipe.layout.trainable_count :]
    assert np.abs(statistics).min() > 0


def test_inner_state_goes_on_from_round_to_round(recipe: CompiledRecipe) -> None:
    run, theta = started(recipe)
    run_through(run)
    state = run.worker_state()
    assert int(state["optimizer/adam/iteration"]) == TOTAL_STEPS
    following = ShardRun(recipe, work(round_index=3), *data())
    _, constants, _ = recipe.initial(5)
    following.start(theta, constants, state)
    run_through(following)
    assert int(following.worker_state()["optimizer/adam/iteration"]) == 2 * TOTAL_STEPS


def test_steps_are_those_of_keras() -> None:
    recipe = compiled(dropout=0.0)
    theta, constants, state = recipe.initial(5)
    x, y = data()
    rows = np.arange(21)
    run = ShardRun(recipe, work(pieces=[rows]), x, y)
    run.start(theta, constants, state)
    run_through(run)
    own, own_loss = theta + run.update(theta), run.mean_loss
    run.start(theta, constants, state)
    recipe.model.compile(optimizer=recipe.optimizer, loss="sparse_categorical_crossentropy")
    history = recipe.model.fit(x[rows], y[rows], batch_size=8, shuffle=False, verbose=0)
    assert recipe.variables.flatten() == pytest.approx(own, abs=1e-6)
    assert own_loss == pytest.approx(history.history["loss"][0], rel=1e-5)


# --- accuracy ----------------------------------------------------------------------------------------------


def step_by_step(recipe: CompiledRecipe, x: np.ndarray, y: np.ndarray) -> tuple[ShardRun, list[np.ndarray]]:
    """A finished round, and what the model predicted for each step's batch just before its update."""
    theta, constants, state = recipe.initial(5)
    run = ShardRun(recipe, work(), x, y)
    run.start(theta, constants, state)
    rows, outputs, begin = np.concatenate(work().pieces), [], 0
    while not run.finished:
        assert run.advance(0).accuracies == ()
        end = begin + (8, 8, 5, 8, 4)[run.step]
        outputs.append(np.asarray(recipe.model(x[rows[begin:end]], training=False)))
        run.advance(1)
        begin = end
    return run, outputs


def plain(settings: Any, outputs: int = 3, activation: str | None = "softmax") -> keras.Model:
    """Without dropout and batch normalisation, so that training and inference predict the same."""
    return keras.Sequential([keras.Input((FEATURES,)), keras.layers.Dense(outputs, activation=activation)])


LOSSES = keras.losses


@pytest.mark.parametrize(
    ("outputs", "activation", "loss", "labels"),
    [
        (3, "softmax", LOSSES.SparseCategoricalCrossentropy(), lambda y: y),
        (3, "softmax", LOSSES.SparseCategoricalCrossentropy(), lambda y: y[:, None]),
        (3, None, LOSSES.SparseCategoricalCrossentropy(from_logits=True), lambda y: y),
        (3, "softmax", LOSSES.CategoricalCrossentropy(), lambda y: np.eye(3, dtype=np.float32)[y]),
        (1, "sigmoid", LOSSES.BinaryCrossentropy(), lambda y: (y > 0).astype(np.uint8)),
    ],
)
def test_a_steps_accuracy_is_the_right_share_of_its_batch(
    outputs: int, activation: Any, loss: Any, labels: Any
) -> None:
    recipe = compiled(
        with_model(lambda settings: plain(settings, outputs, activation), build_loss=lambda settings: loss)
    )
    x, y = data()
    run, predictions = step_by_step(recipe, x, labels(y))
    answers = [(p[:, 0] > 0.5).astype(int) if outputs == 1 else p.argmax(axis=1) for p in predictions]
    truth = (y > 0).astype(int) if outputs == 1 else y
    rows, ends = np.concatenate(work().pieces), np.cumsum([8, 8, 5, 8, 4])
    batches = np.split(truth[rows], ends[:-1])
    wanted = [float((answer == batch).mean()) for answer, batch in zip(answers, batches, strict=True)]
    theta, constants, state = recipe.initial(5)
    run.start(theta, constants, state)
    assert run.advance(100).accuracies == pytest.approx(wanted)
    assert run.mean_accuracy == pytest.approx(np.dot(wanted, [8, 8, 5, 8, 4]) / 33)
    assert 0 < run.mean_accuracy < 1


def test_accuracy_of_many_answers_an_example_is_their_mean() -> None:
    def build(settings: Any) -> keras.Model:
        return keras.Sequential(
            [
                keras.Input((FEATURES,)),
                keras.layers.Reshape((2, FEATURES // 2)),
                keras.layers.Dense(3, activation="softmax"),
            ]
        )

    recipe = compiled(with_model(build))
    x, y = data()
    both = np.stack([y, 2 - y], axis=1)  # (examples, 2)
    run, predictions = step_by_step(recipe, x, both)
    wanted = float((predictions[0].argmax(axis=-1) == both[np.concatenate(work().pieces)[:8]]).mean())
    theta, constants, state = recipe.initial(5)
    run.start(theta, constants, state)
    assert run.advance(1).accuracies == pytest.approx([wanted])


def test_regression_has_no_accuracy() -> None:
    recipe = compiled(
        with_model(
            lambda settings: plain(settings, 1, None),
            task="regression",
            build_loss=lambda settings: keras.losses.MeanSquaredError(),
        )
    )
    run, _ = started(recipe)
    assert run.advance(2).accuracies == () and run.mean_accuracy is None
    assert run.advance(0).losses == () and run.advance(100).accuracies == ()


# --- gradients ---------------------------------------------------------------------------------------------


def build_regularised(settings: Any) -> keras.Model:
    return keras.Sequential(
        [
            keras.Input((FEATURES,), dtype="float64"),
            keras.layers.Dense(5, "tanh", kernel_regularizer=keras.regularizers.L2(settings["decay"]), dtype="float64"),
            keras.layers.Dense(3, activation="softmax", dtype="float64"),
        ]
    )


def test_four_workers_equal_one_with_four_times_the_batch() -> None:
    recipe = compiled(with_model(build_regularised, settings={"decay": 0.1}), sync="gradients")
    x, y = data(47)
    theta, constants, state = recipe.initial(5)
    assert theta.dtype == np.float64

    def gradient(rows: np.ndarray, batch_size: int) -> np.ndarray:
        run = ShardRun(recipe, work("gradients", pieces=[rows], batch_size=batch_size), x.astype(np.float64), y)
        run.start(theta, constants, state)
        run_through(run)
        return run.update(theta)

    shards = np.array_split(np.arange(47), 4)  # 12, 12, 12, 11: the last batches are ragged
    mean = sum(gradient(rows, 5) * (len(rows) / 47) for rows in shards)
    whole = gradient(np.arange(47), 20)
    assert np.abs(mean - whole).max() < 1e-10 * np.abs(whole).max()
    once = gradient(np.arange(47), 47)
    assert np.abs(once - whole).max() < 1e-10 * np.abs(whole).max()


def test_the_gradient_is_that_of_the_mean_loss() -> None:
    recipe = compiled(with_model(build_regularised, settings={"decay": 0.1}), sync="gradients")
    x, y = data(30)
    x = x.astype(np.float64)
    theta, constants, state = recipe.initial(5)

    def mean_loss(at: np.ndarray) -> tuple[float, np.ndarray]:
        run = ShardRun(recipe, work("gradients", pieces=[np.arange(30)], batch_size=7), x, y)
        run.start(at, constants, state)
        run_through(run)
        return run.mean_loss, run.update(at)

    _, gradient = mean_loss(theta)
    direction = np.random.default_rng(1).normal(size=theta.size)
    step = 1e-6 * direction
    slope = (mean_loss(theta + step)[0] - mean_loss(theta - step)[0]) / 2e-6
    assert slope == pytest.approx(gradient @ direction, rel=1e-6)


def test_gradients_keep_no_optimizer_but_the_statistics_change() -> None:
    recipe = shared("gradients")
    run, theta = started(recipe)
    run_through(run)
    assert run.worker_state() == {}
    assert np.abs(run.update(theta)[recipe.layout.trainable_count :]).min() > 0


# --- what is refused ---------------------------------------------------------------------------------------


def test_a_loss_that_is_not_finite_names_its_step(recipe: CompiledRecipe) -> None:
    theta, constants, state = recipe.initial(5)
    x, y = data()
    x[25] = np.nan  # the second batch of rows 40 … 20
    run = ShardRun(recipe, work(), x, y)
    run.start(theta, constants, state)
    with pytest.raises(NotFinite, match="round 2 worker 1 step 1: the loss is nan"):
        run_through(run)


def test_an_update_that_is_not_finite_names_its_tensor(recipe: CompiledRecipe) -> None:
    run, theta = started(recipe)
    run_through(run)
    theta[3] = np.inf
    with pytest.raises(NotFinite, match="round 2 worker 1: 'sequential/dense/kernel'"):
        run.update(theta)


def test_an_empty_shard_is_refused(recipe: CompiledRecipe) -> None:
    with pytest.raises(NoExamples):
        ShardRun(recipe, work(pieces=[np.arange(0)]), *data())


def test_other_shapes_are_refused(recipe: CompiledRecipe) -> None:
    theta, constants, state = recipe.initial(5)
    run = ShardRun(recipe, work(), *data())
    with pytest.raises(ShapeMismatch, match="parameters"):
        run.start(theta[:-1], constants, state)
    with pytest.raises(ShapeMismatch, match=r"worker state: 'optimizer/.*' is missing"):
        run.start(theta, constants, {})
    name = "optimizer/adam/sequential_dense_kernel_momentum"
    with pytest.raises(ShapeMismatch, match=r"expected \(6, 8\)"):
        run.start(theta, constants, state | {name: np.zeros(3)})


def test_another_use_of_the_model_ends_a_shard_run(recipe: CompiledRecipe) -> None:
    run, _ = started(recipe)
    started(recipe)
    with pytest.raises(RuntimeError):
        run.advance(1)


def test_a_recipe_that_fails_in_a_step_names_itself(recipe: CompiledRecipe) -> None:
    theta, constants, state = recipe.initial(5)
    x, y = data()
    run = ShardRun(recipe, work(), x, y + 7)
    run.start(theta, constants, state)
    with pytest.raises(RecipeFailed, match="round 2 worker 1 training: InvalidArgumentError"):
        run.advance(1)


def test_randomness_outside_the_layers_is_refused() -> None:
    def build(settings: Any) -> keras.Model:
        class Noise(keras.layers.Layer):
            def call(self, x: Any) -> Any:
                return x + keras.random.normal((FEATURES,))

        return keras.Sequential([keras.Input((FEATURES,)), Noise(), keras.layers.Dense(3, activation="softmax")])

    with pytest.raises(RecipeFailed, match="belongs to none of its layers"):
        ShardRun(compiled(with_model(build)), work(), *data())


def test_the_recipe_is_left_as_it_was() -> None:
    assert EVERYTHING.settings == {"learning_rate": 0.01, "dropout": 0.3}
