"""The 8×8 handwritten digits that come with scikit-learn: 1,797 images, no download. For first tries and tests."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from training.datasets.source import Arrays, DataSource

_TRAIN_EXAMPLES = 1437
_SPLIT_SEED = 20


def load(folder: Path) -> Arrays:
    """A fixed split of scikit-learn's `load_digits`; `folder` is not used.

    The images come ordered by writer, so the split is drawn at random, by a fixed seed.
    """
    from sklearn.datasets import load_digits

    digits = load_digits()
    x = digits.images.astype(np.uint8)  # (examples, 8, 8), in 0 … 16
    y = digits.target.astype(np.uint8)  # (examples,)
    order = np.random.Generator(np.random.Philox(key=_SPLIT_SEED)).permutation(len(x))
    train, test = order[:_TRAIN_EXAMPLES], order[_TRAIN_EXAMPLES:]
    return Arrays(x[train], y[train], x[test], y[test])


source = DataSource(
    name="digits",
    load=load,
    license="CC BY 4.0 (Alpaydin and Kaynak, UCI Machine Learning Repository, 1998)",
    train_examples=_TRAIN_EXAMPLES,
    test_examples=360,
    input_shape=(8, 8),
    max_level=16,
    class_names=tuple("0123456789"),
)
