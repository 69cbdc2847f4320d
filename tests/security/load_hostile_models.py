"""In a process of its own: loads `.keras` files made to do harm, as a recipe of a saved model does."""

from __future__ import annotations

import base64
import io
import json
import marshal
import os
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

from security.sandbox import Escape, Sandbox
from training.saved_model import load, read_config


def with_config(content: bytes, change: Any) -> bytes:
    """The model's file with another configuration."""
    stream = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(stream, "w") as new:
        for name in old.namelist():
            data = old.read(name)
            if name == "config.json":
                config = json.loads(data)
                change(config)
                data = json.dumps(config).encode()
            new.writestr(name, data)
    return stream.getvalue()


def second_layer(layer: dict[str, Any]) -> Any:
    """Puts a layer in the place of the model's own."""
    return lambda config: config["config"]["layers"].__setitem__(1, layer)


def of_keras(kind: str, config: dict[str, Any], module: str = "keras.layers") -> dict[str, Any]:
    """A layer as Keras writes it."""
    return {"module": module, "class_name": kind, "config": config, "registered_name": None,
            "build_config": {"input_shape": [None, 2]}}  # fmt: skip


def function(module: str, name: str) -> dict[str, Any]:
    """A function as Keras writes it."""
    return {"module": module, "class_name": "function", "config": name, "registered_name": name}


def attacks(mark: Path, secret: Path) -> dict[str, Any]:
    """Name → change of the configuration. Each would make `mark`, or read `secret`."""
    code = compile(f"lambda x: open({str(mark)!r}, 'w')", "x", "eval").co_consts[0]
    body = base64.b64encode(marshal.dumps(code)).decode()
    bytecode = {"class_name": "__lambda__", "config": {"code": body, "defaults": None, "closure": None}}
    command = f"touch {mark}"

    def allowed_first(config: dict[str, Any]) -> None:
        layers = config["config"]["layers"]
        layers.insert(1, function("keras.config", "enable_unsafe_deserialization"))
        layers.insert(2, of_keras("Lambda", {"name": "a", "function": bytecode}))

    def other_class(module: str, name: str, arguments: dict[str, Any]) -> Any:
        return lambda config: config.update(module=module, class_name=name, config=arguments, registered_name=name)

    target = {"origin": "http://127.0.0.1:9/x", "cache_dir": str(mark.parent), "extract": True}
    fetched = {"name": "a", "function": function("keras.utils", "get_file"), "arguments": target}
    return {
        "bytecode in a Lambda layer": second_layer(of_keras("Lambda", {"name": "a", "function": bytecode})),
        "bytecode as an activation": second_layer(of_keras("Dense", {"name": "a", "units": 1, "activation": bytecode})),
        "safe mode switched off from within": allowed_first,
        "safe_mode in the configuration": lambda config: (
            config.update(safe_mode=False),
            second_layer(of_keras("Lambda", {"name": "a", "function": bytecode, "safe_mode": False}))(config),
        ),
        "os.system as a function": second_layer(
            of_keras("Lambda", {"name": "a", "function": function("os", "system"), "arguments": {"command": command}})
        ),
        "builtins.exec as an activation": second_layer(
            of_keras("Dense", {"name": "a", "units": 1, "activation": function("builtins", "exec")})
        ),
        "subprocess.Popen as the model": other_class("subprocess", "Popen", {"args": ["touch", str(mark)]}),
        "a module of the current folder": other_class("evil_module", "Evil", {}),
        "get_file as a function": second_layer(of_keras("Lambda", fetched)),
        "a vocabulary that is a file": second_layer(of_keras("StringLookup", {"name": "a", "vocabulary": str(secret)})),
        "a PyTorch module": second_layer(of_keras("TorchModuleWrapper", {"name": "a", "module": body})),
        "a saved model of TensorFlow": second_layer(of_keras("TFSMLayer", {"name": "a", "filepath": str(mark.parent)})),
        "layers in layers without end": lambda config: config["config"].__setitem__("layers", nested(900)),
        "a layer of 4 EiB": second_layer(of_keras("Dense", {"name": "a", "units": 1 << 60})),
    }


def nested(depth: int) -> Any:
    """A wrapper of a wrapper of …"""
    layer: dict[str, Any] = of_keras("Dense", {"name": "a", "units": 1})
    for index in range(depth):
        layer = of_keras("TimeDistributed", {"name": f"a{index}", "layer": layer})
    return [layer]


def whole_model(folder: Path) -> bytes:
    """What is changed: a small compiled model."""
    import keras

    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1, activation="sigmoid")])
    model.compile(optimizer="sgd", loss="binary_crossentropy")
    model.save(folder / "model.keras")
    return (folder / "model.keras").read_bytes()


def outcome(content: bytes, secret: Path) -> str:
    """What came of loading it."""
    try:
        read_config(content, "model.keras")
        model = load(content)
        words = [word for layer in model.layers if hasattr(layer, "get_vocabulary") for word in layer.get_vocabulary()]
        return "the secret" if secret.read_text().strip() in words else "loaded"
    except Escape as error:
        return f"ESCAPE {error}"
    except Exception as error:  # noqa: BLE001 - a recipe's failures are wrapped where recipes are called
        return f"refused: {type(error).__name__}: {' '.join(str(error).split())[:160]}"


def main() -> None:
    """Print the outcomes as JSON."""
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        inside, mark, secret = folder / "inside", folder / "mark", folder / "secret"
        inside.mkdir()
        secret.write_text("canary-of-a-file\n")
        (folder / "evil_module.py").write_text(f"open({str(mark)!r}, 'w')\nclass Evil: pass\n")
        os.chdir(folder)
        content = whole_model(folder)
        tempfile.tempdir = str(inside)
        found = {"whole": outcome(content, secret)}
        sandbox = Sandbox(inside, readable=folder)
        for name, change in attacks(mark, secret).items():
            broken = with_config(content, change)
            with sandbox:
                found[name] = outcome(broken, secret)
            if mark.exists():
                found[name] += ", and it did what it wanted"
                mark.unlink()
        print(json.dumps(found))
    sys.stdout.flush()


if __name__ == "__main__":
    main()
