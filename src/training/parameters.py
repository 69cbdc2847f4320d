"""Keras variables <-> one flat vector with a layout.

The vector is [trainable floats | floating statistics]: the second part is what a model keeps beside its trainable
variables, such as batch normalisation's moving averages. Works on Keras variables as they are given; TensorFlow
is not imported here.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from contracts.errors import RecipeFailed, ShapeMismatch

Vector = npt.NDArray[Any]


class TensorSlot(msgspec.Struct, frozen=True, kw_only=True):
    """Where one variable lies in the vector. `offset` counts values, not bytes."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    offset: int

    @property
    def size(self) -> int:
        """How many values it has."""
        return math.prod(self.shape)


class Layout(msgspec.Struct, frozen=True, kw_only=True):
    """Names, shapes and offsets of the tensors in a flat vector. `msgspec.to_builtins` makes JSON-ready data of it.

    `dtype` is float32, or float64 if any tensor is: narrower floats go through it without losing a bit.
    """

    tensors: tuple[TensorSlot, ...]
    parameter_count: int
    trainable_count: int
    dtype: str

    def split(self, vector: Vector) -> dict[str, Vector]:
        """Name → a view on that tensor's part of `vector`, in its shape.

        Raises:
            ShapeMismatch: the vector's length or type is not the layout's.
        """
        self.check(vector)
        return {slot.name: vector[slot.offset : slot.offset + slot.size].reshape(slot.shape) for slot in self.tensors}

    def check(self, vector: Vector) -> None:
        """Raises ShapeMismatch where `vector` is not of this layout's length and type."""
        if vector.shape != (self.parameter_count,):
            raise ShapeMismatch("parameters", f"the vector's shape is {vector.shape}", f"({self.parameter_count},)")
        if vector.dtype != self.dtype:
            raise ShapeMismatch("parameters", f"the vector's type is {vector.dtype}", self.dtype)

    def check_same(self, other: Layout) -> None:
        """Raises ShapeMismatch naming the first tensor in which `other`, an earlier layout, differs."""
        for mine, theirs in zip(self.tensors, other.tensors, strict=False):
            if mine != theirs:
                raise ShapeMismatch(
                    f"{mine.name!r}",
                    f"it is {mine.shape} {mine.dtype}",
                    f"{theirs.name!r} of {theirs.shape} {theirs.dtype} as before",
                )
        if len(self.tensors) != len(other.tensors):
            raise ShapeMismatch("model", f"it has {len(self.tensors)} tensors", f"{len(other.tensors)} as before")


class ModelVariables:
    """Every variable of a Keras model, each in exactly one class.

    Attributes:
        vector: the floats that travel: trainable ones first, then statistics; `layout` says where each lies.
        constants: floats of frozen layers: stored once, never trained.
        seeds: states of random number generators: derived anew for each execution.
        others: whole numbers and booleans: each worker keeps its own.
    """

    def __init__(self, model: Any) -> None:
        frozen = _ids_in_frozen_layers(model)
        weights = {id(variable) for variable in model.weights}
        trainable: list[Any] = []
        statistics: list[Any] = []
        self.constants: list[Any] = []
        self.seeds: list[Any] = []
        self.others: list[Any] = []
        for variable in model.variables:
            is_float = _is_float(variable)
            if id(variable) not in weights:
                self.seeds.append(variable)
            elif not is_float and variable.trainable and id(variable) not in frozen:
                received = f"{variable.path!r} is trainable and of type {variable.dtype}"
                raise RecipeFailed("model", received, "trainable variables of floating type")
            elif not is_float:
                self.others.append(variable)
            elif id(variable) in frozen:
                self.constants.append(variable)
            elif variable.trainable:
                trainable.append(variable)
            else:
                statistics.append(variable)
        self.trainable = trainable
        self.vector = trainable + statistics
        self.layout = make_layout(trainable, statistics)
        self.names = unique_names([*self.vector, *self.constants, *self.seeds, *self.others])

    @property
    def all(self) -> list[Any]:
        """Every variable, in a fixed order; `names` lists theirs in the same order."""
        return [*self.vector, *self.constants, *self.seeds, *self.others]

    def named(self, variables: Sequence[Any]) -> dict[str, Any]:
        """Name → variable for some of them."""
        by_id = {id(variable): name for variable, name in zip(self.all, self.names, strict=True)}
        return {by_id[id(variable)]: variable for variable in variables}

    def flatten(self) -> Vector:
        """The values of `vector` as one new array of the layout's type; no bit is lost."""
        return flatten([read(variable) for variable in self.vector], self.layout)

    def assign(self, vector: Vector) -> None:
        """Give `vector` to the variables, in the layout's order.

        Raises:
            ShapeMismatch: the vector's length or type is not the layout's.
        """
        self.layout.check(vector)
        for variable, slot in zip(self.vector, self.layout.tensors, strict=True):
            write(variable, vector[slot.offset : slot.offset + slot.size].reshape(slot.shape))


def make_layout(trainable: Sequence[Any], statistics: Sequence[Any]) -> Layout:
    """The layout of a vector that holds these variables, the trainable ones first."""
    variables = [*trainable, *statistics]
    slots: list[TensorSlot] = []
    offset = 0
    for variable, name in zip(variables, unique_names(variables), strict=True):
        slots.append(TensorSlot(name=name, shape=tuple(variable.shape), dtype=_dtype_name(variable), offset=offset))
        offset += slots[-1].size
    return Layout(
        tensors=tuple(slots),
        parameter_count=offset,
        trainable_count=sum(slot.size for slot in slots[: len(trainable)]),
        dtype="float64" if any(slot.dtype == "float64" for slot in slots) else "float32",
    )


def flatten(values: Sequence[Vector], layout: Layout) -> Vector:
    """Tensors in the layout's order as one new vector of shape (parameters,).

    Raises:
        ShapeMismatch: a tensor has another shape than its slot.
    """
    vector = np.empty(layout.parameter_count, dtype=layout.dtype)  # (parameters,)
    for value, slot in zip(values, layout.tensors, strict=True):
        if value.shape != slot.shape:
            raise ShapeMismatch(f"{slot.name!r}", f"it is {value.shape}", f"{slot.shape}")
        vector[slot.offset : slot.offset + slot.size] = value.reshape(-1)
    return vector


def assign_named(variables: Mapping[str, Any], values: Mapping[str, Vector], what: str) -> None:
    """Give each variable the value of its name.

    Args:
        what: what `values` are, for the message.
    Raises:
        ShapeMismatch: a name is missing or too many, or a value has another shape.
    """
    missing, extra = sorted(set(variables) - set(values)), sorted(set(values) - set(variables))
    if missing or extra:
        received = f"{missing[0]!r} is missing" if missing else f"{extra[0]!r} is unknown"
        raise ShapeMismatch(what, received, f"{len(variables)} tensors as the recipe has them")
    for name, variable in variables.items():
        value = values[name]
        if tuple(value.shape) != tuple(variable.shape):
            raise ShapeMismatch(f"{what} {name!r}", f"it is {value.shape}", f"{tuple(variable.shape)}")
        write(variable, value)


def read(variable: Any) -> Vector:
    """A Keras variable's value as it is now: later steps do not reach the array, which cannot be written to.

    bfloat16, which NumPy and safetensors lack, comes as float32: the same values.
    """
    dtype = np.float32 if _dtype_name(variable) == "bfloat16" else None
    # A tensor once read never changes: the variable is given memory of its own before it is written to. So the array
    # may lie where the tensor does; `numpy()` copies it.
    return np.asarray(variable.value.read_value(), dtype=dtype)


def write(variable: Any, value: Vector) -> None:
    """Assign `value`, which TensorFlow copies: the caller may change the array afterwards."""
    # Not Keras' own assign, which reads the value back and takes half as long again.
    variable.value.assign(np.asarray(value, dtype=_numpy_dtype(variable)), read_value=False)


def unique_names(variables: Sequence[Any]) -> tuple[str, ...]:
    """Each variable's path; a number is put behind a path that has come before."""
    seen: dict[str, int] = {}
    names: list[str] = []
    for variable in variables:
        path = str(variable.path)
        seen[path] = seen.get(path, 0) + 1
        names.append(path if seen[path] == 1 else f"{path}#{seen[path]}")
    return tuple(names)


def _ids_in_frozen_layers(model: Any) -> set[int]:
    """Variables that a layer with `trainable=False` owns itself; its sublayers are asked on their own."""
    ids: set[int] = set()
    for layer in model._flatten_layers(include_self=True, recursive=True):
        if not layer.trainable:
            ids.update(id(variable) for variable in layer._trainable_variables + layer._non_trainable_variables)
    return ids


def _dtype_name(variable: Any) -> str:
    return str(getattr(variable.dtype, "name", variable.dtype))


def _numpy_dtype(variable: Any) -> Any:
    """NumPy's type for a variable; TensorFlow knows those that NumPy lacks, such as bfloat16."""
    return variable.value.dtype.as_numpy_dtype


def _is_float(variable: Any) -> bool:
    return _dtype_name(variable) in {"float64", "float32", "float16", "bfloat16"}
