"""Runtime: ONNX Runtime, imported, and the one place where a session is made.

A session is on the device that was asked for, or there is an error. ONNX Runtime itself goes to the
CPU in four ways: where it was built without CUDA (a warning), where a library is missing (lines on
standard error), where the driver is (lines on standard output), and in a run that fails (the same).
What may not live here: voices, hearing what it says (`_listening.py`), and what that means
(`_refusals.py`).
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Final

from evakit.devices import Device
from evakit.devices.device import CPU
from evakit.devices.libraries import preload
from evakit.devices.library_names import ONNXRUNTIME_12, ONNXRUNTIME_13
from evakit.devices.packages import look_at_packages
from evakit.errors import MissingLibraryError, PlacementError
from evakit.privacy import import_onnxruntime

from ._listening import captured, words_of_the_loader
from ._refusals import fell_back, lacks_library, refusal

__all__ = ["Runtime"]

_MAX_THREADS: Final = 4  # a clause is too little work for more
_CPU_PROVIDER: Final = "CPUExecutionProvider"
_CUDA_PROVIDER: Final = "CUDAExecutionProvider"
_FATAL: Final = 4  # the highest of ONNX Runtime's severities
_CUDA_13: Final = 13
# What ONNX Runtime raises derives from Exception alone, so each kind is named (1.32).
_ERRORS: Final = (
    "EPFail",
    "EngineError",
    "Fail",
    "InvalidArgument",
    "InvalidGraph",
    "InvalidProtobuf",
    "NoModel",
    "NoSuchFile",
    "NotFound",
    "NotImplemented",
    "RuntimeException",
)


class Runtime:
    """What every session is made with. `threads` and `vram_bytes` as in a `LoadContext`."""

    def __init__(
        self,
        *,
        device: Device = CPU,
        threads: int | None = None,
        vram_bytes: int | None = None,
        component: str = "piper",
    ) -> None:
        """Import ONNX Runtime, for a GPU after the libraries that it will look for.

        Raises:
            ImportError: it is not installed, or does not start.
            MissingLibraryError: it was built with CUDA, whose libraries are not all there.

        """
        self.device = device
        self.threads = threads or min(_MAX_THREADS, _cores())
        self._vram_bytes = vram_bytes
        self._component = component
        self._cuda = _prepare_cuda(component, device) if device.is_gpu else None
        self._ort = import_onnxruntime()
        native = self._ort.capi.onnxruntime_pybind11_state
        self.errors: tuple[type[Exception], ...] = (
            *(getattr(native, name) for name in _ERRORS if hasattr(native, name)),
            RuntimeError,  # what it throws where it has no status, and espeak-ng's bridge
            ValueError,  # its own checks of what a run is fed with
        )

    def session(self, graph: Path, *, device: Device | None = None) -> Any:
        """Make a session on exactly `device`, by default that of the runtime.

        Raises:
            PlacementError: it is not there; its class says why.
            Exception: one of `errors`: the graph cannot be used.

        """
        options = self._ort.SessionOptions()
        options.intra_op_num_threads = self.threads
        options.inter_op_num_threads = 1
        # Measured on two cores that an LLM and an STT want too: threads that spin between
        # operators make a clause take 1.4 times as long; on idle cores they save 3 %.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        # What proves where a voice runs; costs less than a millisecond.
        options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
        options.log_severity_level = _FATAL  # errors are raised, nothing goes to the terminal
        device = device or self.device
        if device.is_gpu:
            session = self._on_gpu(graph, options, device)
        else:
            session = self._ort.InferenceSession(str(graph), options, providers=[_CPU_PROVIDER])
        session.disable_fallback()  # of `run`, to a session for the CPU that it makes itself
        return session

    def refused(self, error: Exception) -> PlacementError | None:
        """Return what a failure means where it is a matter of the GPU; None where it is not."""
        if not self.device.is_gpu:
            return None
        said = f"{type(error).__name__}: {error}"
        return refusal(said, component=self._component, device=self.device, cuda=self._cuda)

    def _on_gpu(self, graph: Path, options: Any, device: Device) -> Any:
        # The CPU is there for the operators on shapes, which the CUDA provider leaves to it; where
        # the others went is looked at. TensorRT is never named: where it cannot be loaded, CUDA is
        # skipped with it.
        providers = [(_CUDA_PROVIDER, self._options(device)), _CPU_PROVIDER]
        with captured(self._ort) as said:
            self._register_bundled_provider()
            try:
                session = self._ort.InferenceSession(
                    str(graph), options, providers=providers, enable_fallback=0
                )
            except self.errors as error:
                refused = self.refused(error)
                if refused is not None:
                    raise refused from error
                raise
        found = session.get_providers()
        if _CUDA_PROVIDER not in found:
            raise fell_back(
                said.first() or words_of_the_loader(self._ort),
                component=self._component,
                device=device,
                providers=", ".join(found),
                cuda=self._cuda,
            )
        return session

    def _options(self, device: Device) -> dict[str, int | str]:
        options: dict[str, int | str] = {
            "device_id": int(device.name.removeprefix("cuda:")),
            # The default tries all algorithms anew for each length of speech: 142 ms a clause on
            # an H200, against 17.
            "cudnn_conv_algo_search": "HEURISTIC",
            # The default doubles what it reserves each time.
            "arena_extend_strategy": "kSameAsRequested",
        }
        if self._vram_bytes is not None:
            # The limit is that of the arena; cuDNN's workspace is beside it, 32 MiB like this.
            options["gpu_mem_limit"] = self._vram_bytes
            options["cudnn_conv_use_max_workspace"] = 0
        return options

    def _register_bundled_provider(self) -> None:
        """Have the CUDA provider registered that wheels from 1.28 on may carry as a plugin.

        They do that when they are imported, which is too early where the host, or a VAD, imported
        ONNX Runtime before CUDA's libraries were loaded.
        """
        if ", cuda-plugin-ep=" not in self._ort.get_build_info():
            return
        if all(one.ep_name != _CUDA_PROVIDER for one in self._ort.get_ep_devices()):
            self._ort.preload_dlls(cuda=False, cudnn=False, msvc=False)  # registers, at its end


def _prepare_cuda(component: str, device: Device) -> int | None:
    """Load CUDA's libraries for the ONNX Runtime that is installed; return CUDA's major number.

    None for a build without CUDA: a host may have registered a plugin with it, whose libraries
    are the host's.
    """
    installed = look_at_packages()
    wheel = installed.get("onnxruntime")
    if wheel is None or wheel.cuda is None:
        return None
    major = wheel.cuda[0]
    names = ONNXRUNTIME_13 if major >= _CUDA_13 else ONNXRUNTIME_12
    try:
        preload(installed, names, component=component)
    except MissingLibraryError as error:
        raise lacks_library(error, component=component, device=device, cuda=major) from error
    return major


def _cores() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):  # not on macOS and Windows
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
