"""Readers of files: arrays, archives, models, pictures, libraries."""

from __future__ import annotations

import base64
import gzip
import io
import json
import pickle
import random
import struct
import zipfile
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import xxhash
from PIL import Image

from contracts.records import FileRef
from fakes.memory_files import MemoryFiles
from security import hostile_bytes as hostile
from security.mutations import mutated, mutated_json, mutated_text
from security.target import Target, Work
from training.datasets import cifar_10
from training.datasets.cifar_10 import PIXELS, read_batch
from training.datasets.fashion_mnist import read_idx
from training.datasets.folder import NAMES, check_name, folder_source
from training.datasets.prepared import load_prepared
from training.images import read_image
from training.saved_model import read_config, recipe_of_model
from training.vector_files import read_tensors, read_vector, write_tensors, write_vector

SIZE = (8, 8)
DESCRS = ("'<f4'", "'|O'", "'<U9'", "[('a', '<f4')]", "'|V0'", "[('a', '|O')]", "'<f4' * 9", "None", "'m8[9s]'")
SHAPES = ("(3, 2)", "()", "(-1,)", "(1<<60,)", "(0, 99999999999)", "((((", "(True,)", "(2,)" * 3, "(9,)*99", "None",
          f"({10**30},)", "(1.0,)", "((2,),)")  # fmt: skip


def npy_bytes(array: np.ndarray[Any, Any]) -> bytes:
    """An array as `numpy.save` writes it."""
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


ARRAYS = (
    npy_bytes(np.arange(6, dtype=np.float32).reshape(3, 2)),
    npy_bytes(np.asfortranarray(np.arange(6, dtype=np.uint8).reshape(3, 2))),
    npy_bytes(np.zeros((0, 3), dtype=np.int64)),
)


def broken_npy(rng: random.Random, content: bytes) -> bytes:
    """Broken bytes; or a whole header that tells of something else; or one whose text is broken."""
    kind = rng.randrange(3)
    if kind == 0:
        return mutated(rng, content, ARRAYS)
    if kind == 1:
        return hostile.npy_of(rng.choice(DESCRS), rng.choice(SHAPES), bytes(rng.randrange(32)))
    text = mutated(rng, content[10:74])
    return content[:8] + struct.pack("<H", min(len(text), 65_535)) + text[:65_535] + content[74:]


def _folder(work: Work) -> Callable[[bytes], Any]:
    for name in NAMES:
        (work.folder / f"{name}.npy").write_bytes(ARRAYS[0])

    def read(content: bytes) -> None:
        (work.folder / "x_train.npy").write_bytes(content)
        folder_source(work.folder, "leaves").load(work.folder)

    return read


def _npz(work: Work) -> Callable[[bytes], Any]:
    path = work.folder / "a.npz"

    def read(content: bytes) -> None:
        path.write_bytes(content)
        folder_source(path, "leaves").load(work.folder)

    return read


def broken_npz(rng: random.Random, content: bytes) -> bytes:
    """A broken archive, or a whole one of broken arrays."""
    if rng.random() < 0.5:
        return mutated(rng, content)
    members = {f"{name}.npy": broken_npy(rng, rng.choice(ARRAYS)) for name in NAMES}
    return hostile.zipped(members, rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2)))


def _idx(work: Work) -> Callable[[bytes], Any]:
    path = work.folder / "images.gz"

    def read(content: bytes) -> None:
        path.write_bytes(content)
        read_idx(path, 3)

    return read


IDX = struct.pack(">I3I", 0x0803, 2, 3, 4) + bytes(24)


def broken_gzip(rng: random.Random, content: bytes) -> bytes:
    """A broken stream, or a whole one of broken bytes."""
    return mutated(rng, content) if rng.random() < 0.5 else gzip.compress(mutated(rng, IDX), 1)


def _pickled(_work: Work) -> Callable[[bytes], Any]:
    return lambda content: cifar_10.read_batch(content, "batch", BATCH_EXAMPLES) and None


BATCH_EXAMPLES = 2
BATCH: dict[str, Any] = {
    "labels": [3] * BATCH_EXAMPLES,
    "data": np.zeros((BATCH_EXAMPLES, cifar_10.PIXELS), np.uint8),
    "filenames": ["a.png"] * BATCH_EXAMPLES,
}


def cifar_batch() -> bytes:
    """One picture and its label, pickled as the data that are read."""
    pixels = np.arange(PIXELS, dtype=np.int64).astype(np.uint8)
    batch = {b"batch_label": b"batch 1", b"labels": [3], b"data": pixels[None], b"filenames": [b"a.png"]}
    return pickle.dumps(batch, protocol=2)


def _cifar(_work: Work) -> Callable[[bytes], Any]:
    return lambda content: read_batch(content, "batch", 1) and None


def _prepared(work: Work) -> Callable[[bytes], Any]:
    files = MemoryFiles()

    def read(content: bytes) -> None:
        header = 10 + int.from_bytes(content[8:10], "little")
        digest = xxhash.xxh3_128_hexdigest(content[header:])  # as whoever can write the file would have it
        files.write("datasets/a/x_train.npy", [content], durable=False)
        facts = {"folder": "datasets/a", "files": {"x_train": {"bytes": len(content), "digest": digest}}}
        load_prepared(files, facts, ("x_train",))

    return read


def _vector(work: Work) -> Callable[[bytes], Any]:
    files = MemoryFiles()

    def read(content: bytes) -> None:
        """The first line is the report of it, the rest the file."""
        told, _, data = content.partition(b"\n")
        files.write("v", [data], durable=False)
        fields = json.loads(told)
        good = [fields.get("bytes"), fields.get("count")]
        if not all(type(number) is int for number in good) or not isinstance(fields.get("dtype"), str):
            raise_message("the store's records have types")
        read_vector(files, [FileRef(path="v", bytes=good[0], count=good[1], dtype=fields["dtype"],
                                    parts=(xxhash.xxh3_128_hexdigest(data[128:]),))])  # fmt: skip

    return read


def raise_message(text: str) -> None:
    """What a layer before this reader would have refused."""
    from contracts.errors import InvalidMessage

    raise InvalidMessage("fuzz", text)


def _vector_sample() -> bytes:
    files = MemoryFiles()
    ref = write_vector(files, "v", np.arange(5, dtype=np.float32), (0, 5), durable=False)
    told = {"bytes": ref.bytes, "count": ref.count, "dtype": ref.dtype}
    return json.dumps(told).encode() + b"\n" + files.read("v")


def broken_vector(rng: random.Random, content: bytes) -> bytes:
    """Another report, or other bytes."""
    told, _, data = content.partition(b"\n")
    fields = json.loads(told)
    name = rng.choice(list(fields))
    odd = rng.choice((0, -1, 6, 1 << 40, 1 << 62, 1 << 70, "object", "V", "<f8", "datetime64", "f4,f4", "O,O", 5.5))
    return json.dumps(fields | {name: odd}).encode() + b"\n" + (data if rng.random() < 0.5 else mutated(rng, data))


def _tensors(work: Work) -> Callable[[bytes], Any]:
    files = MemoryFiles()

    def read(content: bytes) -> None:
        files.write("t", [content], durable=False)
        digest = xxhash.xxh3_128_hexdigest(content)
        read_tensors(files, FileRef(path="t", bytes=len(content), count=len(content), parts=(digest,)))

    return read


def _tensors_sample() -> bytes:
    files = MemoryFiles()
    write_tensors(files, "t", {"a": np.zeros((2, 3), np.float32), "b": np.arange(3)}, durable=False)
    return files.read("t")


def broken_tensors(rng: random.Random, content: bytes) -> bytes:
    """Broken bytes, or a whole header that tells of something else."""
    if rng.random() < 0.4:
        return mutated(rng, content)
    length = struct.unpack_from("<Q", content)[0]
    return hostile.tensors(mutated_json(rng, content[8 : 8 + length]), content[8 + length :])


KERAS_CONFIG = {
    "module": "keras", "class_name": "Sequential", "config": {"layers": [{"class_name": "Dense", "config": {}}]},
    "compile_config": {
        "optimizer": {"module": "keras.optimizers", "class_name": "SGD", "config": {"learning_rate": 0.1}},
        "loss": {"module": "keras.losses", "class_name": "MeanSquaredError", "config": {"name": "mean_squared_error"}},
        "metrics": None,
    },
}  # fmt: skip
KERAS = hostile.keras_file(KERAS_CONFIG, {"model.weights.h5": bytes(100)})


def _keras(work: Work) -> Callable[[bytes], Any]:
    def read(content: bytes) -> None:
        read_config(content, "model.keras")
        recipe_of_model(name="m", dataset="digits", folder="", model=base64.b64encode(content).decode())

    return read


def broken_keras(rng: random.Random, content: bytes) -> bytes:
    """A broken archive, or a whole one of a broken configuration or of odd members."""
    kind = rng.randrange(3)
    if kind == 0:
        return mutated(rng, content)
    names = {mutated_text(rng, b"assets/a").decode(errors="replace"): b"x"} if kind == 2 else {}
    return hostile.keras_file(mutated_json(rng, json.dumps(KERAS_CONFIG).encode()), names)


def _picture(kind: str, mode: str = "L", **options: Any) -> bytes:
    stream = io.BytesIO()
    picture = Image.fromarray(np.arange(64, dtype=np.uint8).reshape(SIZE)).convert(mode)
    picture.save(stream, kind, **options)
    return stream.getvalue()


PICTURES = (
    _picture("PNG"), _picture("PNG", "RGB"), _picture("PNG", "P"), _picture("JPEG"), _picture("WEBP", "RGB"),
    _picture("BMP"), _picture("GIF"), _picture("TIFF"), _picture("TIFF", compression="tiff_lzw"),
    _picture("TIFF", compression="jpeg"), _picture("PNG", "I;16"),
)  # fmt: skip


def _images(work: Work) -> Callable[[bytes], Any]:
    path = work.folder / "picture"

    def read(content: bytes) -> None:
        path.write_bytes(content)
        read_image(path, SIZE)

    return read


def _names(work: Work) -> Callable[[bytes], Any]:
    path = work.folder / "class_names.txt"
    for name in NAMES:
        (work.folder / f"{name}.npy").write_bytes(ARRAYS[0])

    def read(content: bytes) -> None:
        path.write_bytes(content)
        try:
            folder_source(work.folder, "leaves")
        finally:
            check_name(content.decode(errors="replace"))

    return read


NPZ = hostile.zipped({f"{name}.npy": ARRAYS[0] for name in NAMES}, zipfile.ZIP_DEFLATED)
TARGETS = (
    Target(".npy of a folder", _folder, ARRAYS, broken_npy, 4),
    Target(".npz", _npz, (NPZ,), broken_npz),
    Target(".npy prepared", _prepared, ARRAYS, broken_npy, 4),
    Target("idx.gz", _idx, (gzip.compress(IDX),), broken_gzip, 3),
    Target("pickled pictures", _pickled, (pickle.dumps(BATCH, 2), pickle.dumps(BATCH, 3)), mutated, 3),
    Target("pickled batch of cifar-10", _cifar, (cifar_batch(),), mutated, 2),
    Target("vector and its report", _vector, (_vector_sample(),), broken_vector, 4),
    Target(".safetensors", _tensors, (_tensors_sample(),), broken_tensors, 6),
    Target(".keras before loading", _keras, (KERAS,), broken_keras, 2),
    Target("pictures", _images, PICTURES, partial(mutated, others=PICTURES), 4),
    Target("names of classes, data sets", _names, (b"leaves",), mutated_text, 2),
)  # fmt: skip
