"""One process of `bench_libraries.py`: libraries, import, the model, one training step. Prints one line of JSON.

python libraries_child.py SOURCE TEMPORARY     SOURCE: an archive's path, or - for what is on sys.path
"""

import time

BEGAN_AT = time.time()

import json  # noqa: E402
import sys  # noqa: E402
from pathlib import Path  # noqa: E402

EXAMPLES = 64


def read_from_storage() -> int | None:
    """Bytes that this process had to fetch from storage so far: also those that came by page faults."""
    try:
        lines = Path("/proc/self/io").read_text().splitlines()
    except OSError:
        return None
    return next(int(line.split()[1]) for line in lines if line.startswith("read_bytes"))


def main(source: str, temporary: Path) -> dict[str, object]:
    """Until the first step is done."""
    from libraries.load import Places, ensure

    places = Places(source="" if source == "-" else source, shared=temporary, objects=bool, temporary=temporary)  # type: ignore[arg-type]
    loaded = ensure(places)
    loaded_at = time.time()

    from training.numerics import pin_threads

    pin_threads(1)
    imported_at = time.time()

    import numpy as np

    from training.compiled import compiled_recipe
    from training.loop import ShardRun, ShardWork
    from training.recipe import load_recipe

    compiled = compiled_recipe("digits-mlp", load_recipe("digits-mlp").settings)
    theta, constants, state = compiled.initial(0)
    x = np.zeros((EXAMPLES, 8, 8), np.float32)
    y = np.zeros((EXAMPLES,), np.int64)
    pieces = [np.arange(EXAMPLES)]
    work = ShardWork(sync="local", pieces=pieces, batch_size=EXAMPLES, seed=0, round_index=1, worker_index=1)
    shard = ShardRun(compiled, work, x, y)
    shard.start(theta, constants, state)
    shard.advance(1)
    stepped_at = time.time()

    import tensorflow

    return {
        "libraries_s": loaded.seconds,
        "import_s": imported_at - loaded_at,
        "loaded_at": loaded_at,
        "stepped_at": stepped_at,
        "read_bytes": read_from_storage(),
        "tensorflow": str(Path(tensorflow.__file__).parent),
    }


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1], Path(sys.argv[2]))))
