"""Fixtures: the real starter model."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pytest

from evakit.abc import LoadContext
from evakit.models import ModelStore
from evakit_llamacpp import LlamaCppLLM
from evakit_llamacpp._log_lines import LogLine, separate
from evakit_llamacpp._models import SMOLLM2
from evakit_llamacpp._tiny import write_tiny_model

LOGS = Path(__file__).parent / "logs"


@pytest.fixture(scope="session")
def tiny(tmp_path_factory):
    """The file of a model that takes 20 ms to load."""
    path = tmp_path_factory.mktemp("tiny") / "tiny.gguf"
    write_tiny_model(path)
    return path


@pytest.fixture(scope="session")
def recorded():
    """A function that returns what llama.cpp writes as it loads the starter model somewhere.

    The logs follow the formats in llama.cpp's sources, with the sizes of the real model.
    """

    def read(name) -> bytes:
        return (LOGS / f"{name}.log").read_bytes()

    return read


@pytest.fixture(scope="session")
def lines(recorded):
    """The same, as lines."""

    def read(name) -> list[LogLine]:
        found, others = separate(recorded(name))
        assert others == b""
        return found

    return read


@pytest.fixture(scope="session")
def folder():
    """The folder with the starter model, fetched where it is not here yet."""
    return ModelStore().ensure(SMOLLM2)


@pytest.fixture(scope="session")
def gguf(folder):
    """The starter model's file."""
    return folder / SMOLLM2.files[0].name


@pytest.fixture(scope="session")
def load(folder):
    """A function that loads a backend with options."""

    def loaded(**options) -> LlamaCppLLM:
        llm = LlamaCppLLM(**({"context_tokens": 512} | options))
        llm.name = "llamacpp"
        llm.load_model(LoadContext(models={SMOLLM2.name: folder}))
        return llm

    return loaded


@pytest.fixture(scope="module")
def llm(load):
    """A loaded backend with room for two replies at once."""
    llm = load(context_tokens=1024, temperature=0)
    yield llm
    llm.unload_model()


@pytest.fixture(scope="session")
def settled():
    """A function that waits until an engine is idle and returns its counters."""

    def wait(llm) -> dict[str, float]:
        deadline = time.monotonic() + 5  # it takes no longer than the piece that is being read
        while time.monotonic() < deadline:
            metrics = llm._engine.metrics()
            if not metrics["requests_processing"]:
                return metrics
        pytest.fail("the engine goes on")

    return wait


class CudaBuild:
    """xllamacpp as it is built for CUDA, with GPUs: it works as the real one does, on the CPU, and
    writes what that one would write with a GPU.
    """

    def __init__(self, vendor, log, gpus):
        self.asked = {}
        self._vendor = vendor
        self._log = log
        self._gpus = gpus

    def __getattr__(self, name):
        return getattr(self._vendor, name)

    def get_device_info(self):
        kind = self._vendor.ggml_backend_dev_type.GGML_BACKEND_DEVICE_TYPE_GPU
        gpus = [
            {"name": f"CUDA{number}", "type": kind, "device_id": f"0000:0{number + 1}:00.0"}
            for number in range(self._gpus)
        ]
        return [*gpus, *self._vendor.get_device_info()]

    def get_system_info(self):
        return f"CUDA : ARCHS = 860,890 | USE_GRAPHS = 1 | {self._vendor.get_system_info()}"

    def Server(self, parameters):  # noqa: N802 (its name there)
        if not Path(parameters.model.path).exists():
            return self._vendor.Server(parameters)
        names = ("split_mode", "flash_attn_type")
        self.asked = {name: int(getattr(parameters, name)) for name in names}
        for name in ("main_gpu", "n_gpu_layers", "no_kv_offload", "no_op_offload"):
            self.asked[name] = getattr(parameters, name)
        self.asked |= {"fit_params": parameters.fit_params, "verbosity": parameters.verbosity}
        os.write(2, self._log)
        if b"failed to load model" in self._log:
            raise RuntimeError("Failed to init server, please check the input params.")
        parameters.main_gpu, parameters.verbosity = -1, 1
        return self._vendor.Server(parameters)


@pytest.fixture
def cuda_build(monkeypatch, recorded):
    """A function that puts a build for CUDA, which writes a recorded log, in xllamacpp's place."""
    import xllamacpp

    def install(log, gpus=1) -> CudaBuild:
        written = b"" if log == "silence" else recorded(log)
        build = CudaBuild(xllamacpp, written, gpus)
        monkeypatch.setitem(sys.modules, "xllamacpp", build)
        return build

    return install
