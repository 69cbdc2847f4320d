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
from training import backbones, graphs
from training.datasets.source import source_named
from training.derived_seeds import generator_state
from training.failures import code_file, recipe_code
from training.framework import keras, tf
from training.fused_steps import use_fused_step
from training.parameters import ModelVariables, Vector, assign_named, read, unique_names, write
from training.recipe import Recipe, load_recipe, recipe_digest, recipe_file, trains_on_features

if TYPE_CHECKING:
    from training.loop import ShardRun

_KEPT_WARM = 2
_INFERENCE_BATCH = 512
_INFERENCE_BATCH_WITH_BACKBONE = 32
"""A large backbone's inner outputs take megabytes for each example."""

Tensors = dict[str, Vector]


@dataclass(frozen=True)
class Built:
    """What a recipe's functions return; no optimizer where the workers only sum gradients.

    `model` is backbone and head; without a backbone, or where it is not needed, `head` itself.
    """

    model: Any
    head: Any
    backbone: Any | None
    loss: Any
    optimizer: Any | None


class CompiledRecipe:
    """A recipe's model, optimizer, loss and compiled functions.

    Attributes:
        is_on_features: the data that the model trains on are the outputs of the recipe's backbone; it is built only
            when somebody asks for it.
        model: what is trained, from these data, or from raw inputs, to predictions. Frozen parts included.
        head: of the model, what comes behind the backbone; without one, the model.
        variables: the model's variables by class; `layout` is that of the flat vector.
        owner: the shard run whose values the variables hold at present, if any.
    """

    def __init__(self, recipe: Recipe, settings: Mapping[str, Any], sync: Sync = "local") -> None:
        self.recipe = recipe
        self.settings = dict(settings)
        self.sync: Sync = sync
        self.file = recipe_file(recipe)
        self.owner: ShardRun | None = None
        self.is_on_features = trains_on_features(recipe, self.settings)
        built = self._build(seed=0)
        self.model, self.loss, self.optimizer = built.model, built.loss, built.optimizer
        self.head, self._backbone = built.head, built.backbone
        self._whole: Any | None = None
        self.variables = ModelVariables(self.model)
        if not self.variables.trainable:
            raise RecipeFailed(self.file, "the model has no trainable variables")
        self.layout = self.variables.layout
        # The head's alone: a backbone draws nothing, so that the head draws the same with and without it.
        self._seeds = ModelVariables(self.head).seeds
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

    @property
    def backbone(self) -> Any:
        """The frozen backbone, raw inputs → features.

        Raises:
            RecipeFailed: the recipe has none, or raised.
            WeightsNotFound, WeightsUnfit: its weights are not there, or another model's.
        """
        if self._backbone is None:
            if self.recipe.build_backbone is None:
                raise RecipeFailed(self.file, "the recipe has no build_backbone")
            self._backbone = backbones.build_backbone(self.recipe, self.settings)
        return self._backbone

    @property
    def whole(self) -> Any:
        """Raw inputs → predictions: the model, behind its backbone where it trains on features.

        Raises: as `backbone` does.
        """
        if not self.is_on_features:
            return self.model
        if self._whole is None:
            self._whole = backbones.composed(self.backbone, self.model, self.recipe)
        return self._whole

    @property
    def inference_batch(self) -> int:
        """How many raw examples are put through the whole model at once."""
        return _INFERENCE_BATCH if self.recipe.build_backbone is None else _INFERENCE_BATCH_WITH_BACKBONE

    @property
    def evaluation_batch(self) -> int:
        """How many examples of the data that it trains on are put through the model at once."""
        return _INFERENCE_BATCH if self.is_on_features else self.inference_batch

    def before_head(self, x: Any) -> Any:
        """What the head is given for a batch: it as it is, or the backbone's outputs; as for predictions, always."""
        return x if self.head is self.model else self.backbone(x, training=False)

    def features(self, x: Vector) -> Vector:
        """The backbone's outputs, each example's the same however the examples are cut into calls.

        Args:
            x: shape (examples, *input), as in the data set.
        Returns:
            float16 of shape (examples, features).
        Raises:
            NotFinite: half precision cannot hold one.
            RecipeFailed, WeightsNotFound, WeightsUnfit: see `backbone`.
        """
        width = self.backbone.output_shape[1]
        sample = tf.convert_to_tensor(x[:1])
        function = self._function("features", sample, sample, lambda: graphs.features_graph(self, sample))
        return backbones.compute_features(function, x, width, self.file)

    def assign(
        self,
        theta: Vector,
        constants: Mapping[str, Vector],
        *,
        seed: int = 0,
        round_index: int = 0,
        worker_index: int = 0,
    ) -> None:
        """Give the model the parameters and the frozen values; all else is set as a fresh model has it.

        Any shard run under way ends here.

        Args:
            seed, round_index, worker_index: what each random number generator's state is derived from.
        Raises:
            ShapeMismatch: they are not of this model.
        """
        self.owner = None
        self.variables.assign(theta)
        assign_named(self.variables.named(self.variables.constants), constants, "constants")
        for index, variable in enumerate(self._seeds):
            write(variable, generator_state(seed, round_index, worker_index, index))
        for variable, value in zip(self.variables.others, self._others, strict=True):
            write(variable, value)

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

    def warm_up(self, x: Vector, y: Vector) -> None:
        """Bring the data to where training will find them, and trace the training step."""
        self.train_function(self.tensor(x), tf.convert_to_tensor(y))

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
                head = self.recipe.build_model(self.settings)
                self._ensure_built(head)
            model, backbone = head, None
            with recipe_code(code_file(self.recipe.build_loss), "building the loss"):
                loss = self.recipe.build_loss(self.settings)
            if self.recipe.build_backbone is not None and not self.is_on_features:
                backbone = backbones.build_backbone(self.recipe, self.settings)
                model = backbones.composed(backbone, head, self.recipe)
            if self.sync == "gradients":
                return Built(model, head, backbone, loss, None)
            with recipe_code(code_file(self.recipe.build_optimizer), "building the optimizer"):
                optimizer = self.recipe.build_optimizer(self.settings)
                optimizer.build(model.trainable_variables)
            use_fused_step(optimizer)
            return Built(model, head, backbone, loss, optimizer)
        finally:
            keras.config.set_floatx(floatx)

    def _ensure_built(self, model: Any) -> None:
        """A model without an Input has no variables yet: it is called once on zeros."""
        if not isinstance(model, keras.Model):
            raise RecipeFailed(self.file, f"build_model returned a {type(model).__name__}", "a keras.Model")
        if self.recipe.build_backbone is not None:
            backbones.check_one_input(model, self.file, "the model behind a backbone")
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
