"""The Silero VAD network: found in faster-whisper's package, checked, run on ONNX Runtime.

What may not live here: thresholds, and what a probability means for a conversation.
"""

from __future__ import annotations

import hashlib
import importlib.util
from collections import Counter
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from evakit.devices import Device, Evidence, Strength
from evakit.devices.device import CPU
from evakit.devices.evidence import MODEL
from evakit.errors import BackendUnavailableError, DetectionError, ModelIntegrityError
from evakit.privacy import import_onnxruntime

__all__ = ["FRAME", "Silero", "SileroStream", "load_silero"]

FRAME: Final = 512
"""Samples at 16 kHz that one probability is about; the network knows no other size."""
_CONTEXT: Final = 64  # samples of the frame before that go in again (snakers4/silero-vad)
_STATE: Final = (1, 1, 128)  # the shape of both halves of the LSTM's state
_FILE: Final = "assets/silero_vad_v6.onnx"
# The file of faster-whisper 1.2.1.
_SHA256: Final = "4cbf549b8326f60f80f2536d9eefeb450a9abe83365a098031c89719f1be17d2"
_COMPUTE: Final = frozenset({"Conv", "LSTM"})  # where the network's time goes
# What ONNX Runtime raises derives from Exception alone, so each kind is named (1.32).
_ERRORS: Final = (
    "EPFail",
    "EngineError",
    "Fail",
    "InvalidArgument",
    "InvalidGraph",
    "InvalidProtobuf",
    "ModelLoaded",
    "NoModel",
    "NoSuchFile",
    "NotImplemented",
    "RuntimeException",
)


def load_silero(backend: str) -> Silero:
    """Load the network; about 50 ms, most of it the import of ONNX Runtime.

    Raises:
        BackendUnavailableError: faster-whisper or ONNX Runtime is not installed, or faster-whisper
            carries another network.
        ModelIntegrityError: the file is not the known one.

    """
    path = _find(backend)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise BackendUnavailableError(
            f"{backend} needs the Silero VAD of faster-whisper, and {path} cannot be read "
            f"({error.strerror or error}); install faster-whisper 1.2.1 again.",
            backend=backend,
        ) from error
    if hashlib.sha256(data).hexdigest() != _SHA256:
        raise ModelIntegrityError(
            f"{path} is not the Silero VAD that faster-whisper 1.2.1 carries; "
            "install that release again.",
            model="silero",
        )
    try:
        onnxruntime = import_onnxruntime()
    except (ImportError, OSError) as error:
        raise BackendUnavailableError(
            f"{backend} needs ONNX Runtime, which cannot be imported ({error}); "
            "install it with: pip install onnxruntime",
            backend=backend,
        ) from error
    return Silero(onnxruntime, data, backend)


def _find(backend: str) -> Path:
    spec = importlib.util.find_spec("faster_whisper")  # finds; does not import
    if spec is None or not spec.submodule_search_locations:
        raise BackendUnavailableError(
            f"{backend} needs faster-whisper, which is not installed; "
            "install it with: pip install faster-whisper",
            backend=backend,
        )
    return Path(spec.submodule_search_locations[0]) / _FILE


class Silero:
    """The loaded network. Immutable, and safe to use from several threads."""

    def __init__(self, onnxruntime: Any, network: bytes, backend: str) -> None:
        self._backend = backend
        state = onnxruntime.capi.onnxruntime_pybind11_state
        self._errors = tuple(getattr(state, name) for name in _ERRORS if hasattr(state, name))
        options = onnxruntime.SessionOptions()
        # A frame is 0.1 ms of work: one thread is the fastest, and a pool that spins while it
        # waits for the next frame would keep a core at 100 %.
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.add_session_config_entry("session.inter_op.allow_spinning", "0")
        options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
        options.log_severity_level = 4  # fatal: what goes wrong is raised, not printed
        try:
            self._session: Any = onnxruntime.InferenceSession(
                network, options, providers=["CPUExecutionProvider"]
            )
        except self._errors as error:
            raise BackendUnavailableError(
                f"ONNX Runtime {onnxruntime.__version__} cannot load the Silero VAD ({error}); "
                "update it with: pip install -U onnxruntime",
                backend=backend,
            ) from error
        self._session.disable_fallback()

    def where(self) -> Device:
        """Return the device of the provider that the session prefers."""
        return _device_of(self._session.get_providers()[0])

    def evidence(self) -> tuple[Evidence, ...]:
        """Return where ONNX Runtime put the network's compute operators, most of them first; then
        what the session declares, and before ONNX Runtime 1.24 that alone.
        """
        providers = self._session.get_providers()
        seen = [
            Evidence(
                kind=MODEL,
                strength=Strength.DECLARED,
                device=self.where(),
                says=f"the session of the Silero VAD has the providers {', '.join(providers)}",
            )
        ]
        if not hasattr(self._session, "get_provider_graph_assignment_info"):
            return tuple(seen)
        places = Counter(
            subgraph.ep_name
            for subgraph in self._session.get_provider_graph_assignment_info()
            for node in subgraph.get_nodes()
            if node.op_type in _COMPUTE
        )
        total = places.total()
        observed = [
            Evidence(
                kind=MODEL,
                strength=Strength.OBSERVED,
                device=_device_of(provider),
                says=f"ONNX Runtime put {number} of {total} compute operators of the Silero VAD "
                f"on {provider}",
                share=None if len(places) == 1 else number / total,
            )
            for provider, number in places.most_common()
        ]
        return (*observed, *seen)

    def run(
        self,
        rows: npt.NDArray[np.float32],
        h: npt.NDArray[np.float32],
        c: npt.NDArray[np.float32],
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """Run over `rows` of shape (n_frames, 64 + 512), one after the other.

        Returns the probabilities, shape (n_frames,), and the LSTM's new state.

        Raises:
            DetectionError: ONNX Runtime failed.

        """
        try:
            probabilities, h, c = self._session.run(None, {"input": rows, "h": h, "c": c})
        except self._errors as error:
            raise DetectionError(
                f"The Silero VAD failed on ONNX Runtime ({error}); please report this.",
                backend=self._backend,
            ) from error
        return probabilities, h, c


def _device_of(provider: str) -> Device:
    kind = provider.removesuffix("ExecutionProvider").lower()
    return CPU if kind == "cpu" else Device(kind)


class SileroStream:
    """One stream of audio: the LSTM's state and the end of the frame before."""

    def __init__(self, silero: Silero) -> None:
        self._silero = silero
        self._h = np.zeros(_STATE, np.float32)
        self._c = np.zeros(_STATE, np.float32)
        self._context = np.zeros(_CONTEXT, np.float32)

    def probabilities(self, samples: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Return how likely there is speech in each frame of what comes next.

        `samples` has shape (n_frames * 512,), float32, in [-1, 1], at 16 kHz.

        Raises:
            DetectionError: ONNX Runtime failed.

        """
        joined = np.concatenate((self._context, samples))
        if len(samples) == FRAME:  # the live case; a strided view would take longer than the rest
            rows = joined[None]
        else:
            windows = np.lib.stride_tricks.sliding_window_view(joined, _CONTEXT + FRAME)
            rows = np.ascontiguousarray(windows[::FRAME])
        found, self._h, self._c = self._silero.run(rows, self._h, self._c)
        self._context = joined[-_CONTEXT:]
        return found
