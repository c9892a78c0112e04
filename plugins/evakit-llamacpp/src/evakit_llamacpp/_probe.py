"""A trial on a GPU, in a process of its own.

llama.cpp ends its process where CUDA fails: when it lacks a library, or when a build has no code
for a GPU and the driver is too old to make some. What may not live here: what the end of the
process means, which evakit tells.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from evakit.devices import Device
from evakit.devices.device import CPU

from ._engine import Engine, EngineOptions, installed_build
from ._refusals import main_gpu
from ._tiny import write_tiny_model

__all__ = ["try_device"]

_TRIAL = "llamacpp"
_REQUEST = {
    "messages": [{"role": "user", "content": "Hello"}],
    "max_tokens": 2,
    "stream": True,
    "ignore_eos": True,
}


def try_device(name: str) -> None:
    """Have a tiny model read and write on the device `name`, `cuda:0`.

    Raises:
        PlacementError: it cannot be had.
        EngineError: the engine failed at it.
        LoadFailedError: the engine could not load the model.

    """
    device = Device.parse(name)
    gpu = None
    if device != CPU:
        build = installed_build()
        gpu = main_gpu(build, device, component=_TRIAL, environment=os.environ)
    with tempfile.TemporaryDirectory(prefix="evakit-trial-") as folder:
        path = Path(folder) / "tiny.gguf"
        write_tiny_model(path)
        options = EngineOptions(path=path, context=256, parallel=1, threads=1, cache_mib=0, gpu=gpu)
        engine = Engine(options)
        try:
            engine.stream(_REQUEST, lambda _chunk: False)
        finally:
            engine.close()
