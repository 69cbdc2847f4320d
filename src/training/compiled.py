"""A recipe made ready to run: its model, optimizer and loss, and the graphs compiled from them.

Built once per execution environment and kept warm. Nothing of a run is left in it: whoever uses it assigns every
variable first.
"""

from __future__ import annotations

import json
import weakref
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from contracts.errors import RecipeFailed
from contracts.settings import Sync
from training import graphs
from training.datasets.source import source_named
from training.derived_seeds import generator_state
from training.failures import code_file, recipe_code
from training.framework import keras, tf
from training.parameters import ModelVariables, Vector, assign_named, read, unique_names, write
from training.recipe import Recipe, load_recipe, recipe_digest, recipe_file

if TYPE_CHECKING:
    from training.loop import ShardRun

_KEPT_WARM = 2

Tensors = dict[str, Vector]


@dataclass(frozen=True)
class Built:
    """What a recipe's three functions return; no optimizer where the workers only sum gradients."""

    model: Any
    loss: Any
    optimizer: Any | None


class CompiledRecipe:
    """A recipe's model, optimizer, loss and compiled functions.

    Attributes:
        variables: the model's variables by class; `layout` is that of the flat vector.
        owner: the shard run whose values the variables hold at present, if any.
    """

    def __init__(self, recipe: Recipe, settings: Mapping[str, Any], sync: Sync = "local") -> None:
        self.recipe = recipe
        self.settings = dict(settings)
        self.sync: Sync = sync
        self.file = recipe_file(recipe)
        self.owner: ShardRun | None = None
        built = self._build(seed=0)
        self.model, self.loss, self.optimizer = built.model, built.loss, built.optimizer
        self.variables = ModelVariables(self.model)
        if not self.variables.trainable:
            raise RecipeFailed(self.file, "the model has no trainable variables")
        self.layout = self.variables.layout
        self._others = [read(variable) for variable in self.variables.others]
        self.optimizer_variables = self._optimizer_variables(built)
        self.accumulators = self._accumulators() if sync == "gradients" else []
        self._functions: dict[tuple[Any, ...], Callable[..., Any]] = {}
        self._data: tuple[weakref.ref[Vector], tf.Tensor] | None = None

    def initial(self, seed: int) -> tuple[Vector, Tensors, Tensors]:
        """The parameters of round 0, the frozen layers' values, and a worker's first state: from `seed` alone.

        The model is built anew, so that an environment which has built it before gives the same bits.

        Returns:
            the vector of shape (parameters,); constants by name; state by name, as `ShardRun.start` takes them.
        Raises:
            RecipeFailed: the recipe raised, or builds another model this time.
        """
        built = self._build(seed)
        fresh = ModelVariables(built.model)
        fresh.layout.check_same(self.layout)
        constants = {name: read(variable) for name, variable in fresh.named(fresh.constants).items()}
        state = self._state_of(fresh, self._optimizer_variables(built))
        return fresh.flatten(), constants, state

    def assign(self, theta: Vector, constants: Mapping[str, Vector]) -> None:
        """Give the model the parameters and the frozen values; all else is set as a fresh model has it.

        Any shard run under way ends here.

        Raises:
            ShapeMismatch: they are not of this model.
        """
        self.owner = None
        self.variables.assign(theta)
        assign_named(self.variables.named(self.variables.constants), constants, "constants")
        self.assign_seeds(0, 0, 0)
        for variable, value in zip(self.variables.others, self._others, strict=True):
            write(variable, value)

    def assign_seeds(self, seed: int, round_index: int, worker_index: int) -> None:
        """Give each random number generator its state for the start of a round."""
        for index, variable in enumerate(self.variables.seeds):
            variable.assign(generator_state(seed, round_index, worker_index, index))

    def state_variables(self) -> dict[str, Any]:
        """What a worker keeps from round to round, by name: the optimizer's variables, whole numbers, booleans."""
        return self._state_variables_of(self.variables, self.optimizer_variables)

    def accumulator_variables(self) -> dict[str, Any]:
        """The sums of gradients by name; none for `sync="local"`."""
        names = [slot.name for slot in self.layout.tensors]
        return {f"gradient/{name}": variable for name, variable in zip(names, self.accumulators, strict=False)}

    def tensor(self, array: Vector) -> tf.Tensor:
        """`array` as a tensor, which is a copy. The newest is kept: the same data serve round after round."""
        if self._data is None or self._data[0]() is not array:
            self._data = (weakref.ref(array), tf.convert_to_tensor(array))
        return self._data[1]

    def train_function(self, x: tf.Tensor, y: tf.Tensor) -> Callable[..., Any]:
        """Some steps in one call, for data of these types and example shapes; see `graphs.train_graph`."""

        def make() -> Callable[..., Any]:
            function = graphs.train_graph(self, x, y)
            graphs.check_captured_variables(self, function)
            return function

        return self._function("train", x, y, make)

    def evaluate_function(self, x: tf.Tensor, y: tf.Tensor) -> Callable[..., Any]:
        """Sums over examples; see `graphs.evaluate_graph`."""
        return self._function("evaluate", x, y, lambda: graphs.evaluate_graph(self, x, y))

    def predict_function(self, x: tf.Tensor) -> Callable[..., Any]:
        """Predictions for a batch; see `graphs.predict_graph`."""
        return self._function("predict", x, x, lambda: graphs.predict_graph(self, x))

    def _function(self, kind: str, x: tf.Tensor, y: tf.Tensor, make: Callable[[], Any]) -> Callable[..., Any]:
        key = (kind, x.dtype, tuple(x.shape[1:]), y.dtype, tuple(y.shape[1:]))
        if key not in self._functions:
            with recipe_code(self.file, "compiling the model"):
                self._functions[key] = make()
        return self._functions[key]

    def _build(self, seed: int) -> Built:
        """All that the recipe makes, under a seed and with names counted from the beginning."""
        floatx = keras.config.floatx()
        keras.backend.clear_session(free_memory=False)
        keras.utils.set_random_seed(int(generator_state(seed, 0, 0, 0)[0]))
        try:
            with recipe_code(self.file, "building the model"):
                model = self.recipe.build_model(self.settings)
                self._ensure_built(model)
            with recipe_code(code_file(self.recipe.build_loss), "building the loss"):
                loss = self.recipe.build_loss(self.settings)
            if self.sync == "gradients":
                return Built(model, loss, None)
            with recipe_code(code_file(self.recipe.build_optimizer), "building the optimizer"):
                optimizer = self.recipe.build_optimizer(self.settings)
                optimizer.build(model.trainable_variables)
            return Built(model, loss, optimizer)
        finally:
            keras.config.set_floatx(floatx)

    def _ensure_built(self, model: Any) -> None:
        """A model without an Input has no variables yet: it is called once on zeros."""
        if not isinstance(model, keras.Model):
            raise RecipeFailed(self.file, f"build_model returned a {type(model).__name__}", "a keras.Model")
        if model.built:
            return
        shape = source_named(self.recipe.dataset).input_shape
        if shape is None:
            raise RecipeFailed(self.file, "the model has no keras.Input and the data set names no input_shape")
        model(np.zeros((1, *shape), dtype="float32"), training=False)

    def _accumulators(self) -> list[Any]:
        return [
            keras.Variable(np.zeros(variable.shape), dtype=variable.dtype, trainable=False)
            for variable in self.variables.trainable
        ]

    @staticmethod
    def _optimizer_variables(built: Built) -> dict[str, Any]:
        variables = list(built.optimizer.variables) if built.optimizer is not None else []
        return dict(zip(unique_names(variables), variables, strict=True))

    @staticmethod
    def _state_variables_of(variables: ModelVariables, optimizer_variables: Mapping[str, Any]) -> dict[str, Any]:
        others = {f"model/{name}": variable for name, variable in variables.named(variables.others).items()}
        return others | {f"optimizer/{name}": variable for name, variable in optimizer_variables.items()}

    def _state_of(self, variables: ModelVariables, optimizer_variables: Mapping[str, Any]) -> Tensors:
        named = self._state_variables_of(variables, optimizer_variables)
        return {name: read(variable) for name, variable in named.items()}


_warm: OrderedDict[tuple[str, str, Sync], CompiledRecipe] = OrderedDict()


def compiled_recipe(name_or_path: str, settings: Mapping[str, Any], *, sync: Sync = "local") -> CompiledRecipe:
    """The recipe ready to run: kept from an earlier call in this process, or made now.

    Batches may be of any size, so the batch size is no part of it.

    Args:
        settings: all of the recipe's settings, as `resolve_settings` gives them.
    Raises:
        UnknownRecipe, RecipeFailed: the recipe is not there or raised.
    """
    key = (recipe_digest(name_or_path), json.dumps(dict(settings), sort_keys=True), sync)
    if key not in _warm:
        while len(_warm) >= _KEPT_WARM:
            _warm.popitem(last=False)
        _warm[key] = CompiledRecipe(load_recipe(name_or_path), settings, sync)
    _warm.move_to_end(key)
    return _warm[key]
