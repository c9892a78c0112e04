"""Fixtures: the real voice joe, voices of a few hundred bytes that hum, and a GPU that is none.

A tiny voice is a real ONNX graph, written here byte by byte (the format is protobuf): one sine
of 256 samples a phoneme id times the length scale, at a pitch for each speaker.
"""

from __future__ import annotations

import json
import struct
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import onnxruntime
import pytest

from evakit.abc import LoadContext
from evakit.devices import Device
from evakit.models import ModelStore
from evakit_piper import PiperTTS
from evakit_piper._models import JOE

_FLOAT, _INT64 = 1, 7


def _varint(number: int) -> bytes:
    out = b""
    while number > 0x7F:
        out += bytes([number & 0x7F | 0x80])
        number >>= 7
    return out + bytes([number])


def _field(number: int, value: int | str | bytes) -> bytes:
    if isinstance(value, int):
        return _varint(number << 3) + _varint(value)
    data = value.encode() if isinstance(value, str) else value
    return _varint(number << 3 | 2) + _varint(len(data)) + data


def _tensor(name: str, values: list[float], *, kind: int = _FLOAT, scalar: bool = False) -> bytes:
    dims = b"" if scalar else _field(1, len(values))
    raw = struct.pack(f"<{len(values)}{'f' if kind == _FLOAT else 'q'}", *values)
    return dims + _field(2, kind) + _field(8, name) + _field(9, raw)


def _node(op: str, inputs: list[str], output: str, **ints: int) -> bytes:
    attributes = b"".join(
        _field(5, _field(1, name) + _field(3, value) + _field(20, 2))
        for name, value in ints.items()
    )
    return (
        b"".join(_field(1, name) for name in inputs)
        + _field(2, output)
        + _field(4, op)
        + attributes
    )


def _value(name: str, kind: int, *dims: str) -> bytes:
    shape = b"".join(_field(1, _field(2, dim)) for dim in dims)
    return _field(1, name) + _field(2, _field(1, _field(1, kind) + _field(2, shape)))


def graph(*, amplitude: float = 0.5, pitches: tuple[float, ...] = (0.1,)) -> bytes:
    """Return an ONNX file with the inputs and the output of a Piper voice."""
    many = len(pitches) > 1
    nodes = [
        _node("Cast", ["input_lengths"], "ids", to=_FLOAT),
        _node("Gather", ["scales", "second"], "length"),
        _node("Mul", ["ids", "length"], "stretched"),
        _node("Mul", ["stretched", "hop"], "samples"),
        _node("Squeeze", ["samples"], "end"),
        _node("Range", ["zero", "end", "one"], "time"),
        _node("Gather", ["pitches", "sid" if many else "first"], "pitch"),
        _node("Mul", ["time", "pitch"], "phase"),
        _node("Sin", ["phase"], "hum"),
        _node("Mul", ["hum", "amplitude"], "loud"),
        _node("Unsqueeze", ["loud", "axes"], "output"),
    ]
    tensors = [
        _tensor("second", [1], kind=_INT64),
        _tensor("first", [0], kind=_INT64),
        _tensor("hop", [256.0]),
        _tensor("zero", [0.0], scalar=True),
        _tensor("one", [1.0], scalar=True),
        _tensor("pitches", list(pitches)),
        _tensor("amplitude", [amplitude]),
        _tensor("axes", [0, 1, 2], kind=_INT64),
    ]
    inputs = [
        _value("input", _INT64, "batch", "phonemes"),
        _value("input_lengths", _INT64, "batch"),
        _value("scales", _FLOAT, "three"),
        *([_value("sid", _INT64, "batch")] if many else []),
    ]
    body = (
        b"".join(_field(1, node) for node in nodes)
        + _field(2, "hum")
        + b"".join(_field(5, tensor) for tensor in tensors)
        + b"".join(_field(11, value) for value in inputs)
        + _field(12, _value("output", _FLOAT, "batch", "a", "b", "n"))
    )
    return _field(1, 8) + _field(7, body) + _field(8, _field(1, "") + _field(2, 13))


def config(**changes) -> dict:
    """Return the configuration of a tiny voice, with every phoneme that Piper knows."""
    from piper.phoneme_ids import DEFAULT_PHONEME_ID_MAP

    return {
        "audio": {"sample_rate": 22050},
        "espeak": {"voice": "en-us"},
        "language": {"code": "en_US"},
        "num_symbols": 256,
        "num_speakers": 1,
        "speaker_id_map": {},
        "phoneme_id_map": DEFAULT_PHONEME_ID_MAP,
        **changes,
    }


def write_voice(
    folder: Path, name: str = "tiny", configuration: dict | None = None, **shape
) -> Path:
    """Write a tiny voice and return its path."""
    path = folder / f"{name}.onnx"
    path.write_bytes(graph(**shape))
    chosen = config() if configuration is None else configuration
    path.with_name(f"{path.name}.json").write_text(json.dumps(chosen))
    return path


def load_voice(path: Path, device: str = "cpu", **options) -> PiperTTS:
    """Return a backend whose default voice is the file at `path`, loaded."""
    tts = PiperTTS(str(path), **options)
    tts.load_model(LoadContext(device=Device(device)))
    return tts


class OnCuda(onnxruntime.InferenceSession):
    """A session that shows what one with a working CUDA provider shows, and computes on the CPU.

    What it shows stands where the real one keeps it, so that it goes when ONNX Runtime replaces
    the session inside. `stays` are the sorts of operators that are left on the CPU.
    """

    stays = frozenset({"Gather", "Shape"})
    tells_memory = True
    tells_number = True
    made = ()

    def __init__(self, graph, options, providers, **more):
        on_gpu = [one for one in providers if isinstance(one, tuple)]
        super().__init__(graph, options, providers=["CPUExecutionProvider"], **more)
        type(self).made += ((providers, more),)
        if on_gpu:
            name, asked = on_gpu[0]
            self._providers = [name, "CPUExecutionProvider"]
            told = {key: str(value) for key, value in asked.items()}
            self._provider_options = {name: told if self.tells_number else {}}
            memory = SimpleNamespace(name="Cuda", device_id=asked["device_id"])
            if self.tells_memory:
                self._output_meminfos = [memory]

    def get_provider_graph_assignment_info(self):
        first = self.get_providers()[0]
        return [
            SimpleNamespace(
                ep_name=real.ep_name if node.op_type in self.stays else first,
                get_nodes=lambda node=node: [node],
            )
            for real in super().get_provider_graph_assignment_info()
            for node in real.get_nodes()
        ]


@pytest.fixture
def on_cuda(monkeypatch):
    """The class of sessions that ONNX Runtime makes now, as if its CUDA provider worked.

    No operator of a tiny voice is heavy, so that all of them count, and none may stay.
    """
    fake = type("OnCuda", (OnCuda,), {"stays": frozenset()})
    monkeypatch.setattr(onnxruntime, "InferenceSession", fake)
    return fake


@pytest.fixture
def tiny(tmp_path):
    """A function that writes a tiny voice and returns its path."""
    return partial(write_voice, tmp_path)


@pytest.fixture
def piper():
    """A function that loads a backend with the voice at a path, and options."""
    return load_voice


@pytest.fixture(scope="session")
def hum(tmp_path_factory) -> PiperTTS:
    """A loaded backend whose default voice is a tiny one; not to be unloaded."""
    return load_voice(write_voice(tmp_path_factory.mktemp("voices")))


@pytest.fixture
def two_speakers():
    """The configuration that goes with two pitches."""
    return config(num_speakers=2, speaker_id_map={"jessica": 0, "pierre": 1})


@pytest.fixture
def configuration():
    """A function that returns the configuration of a tiny voice, with changes."""
    return config


@pytest.fixture(scope="session")
def joe_folder() -> Path:
    """The folder with the voice joe, fetched where it is not here yet."""
    return ModelStore().ensure(JOE)


@pytest.fixture(scope="session")
def joe(joe_folder) -> PiperTTS:
    """A loaded backend that speaks as joe, the same every time."""
    tts = PiperTTS(variation=0)
    tts.load_model(LoadContext())
    tts.load_voice(tts.voices[0], {JOE.name: joe_folder})
    return tts
