"""Why llama.cpp cannot have a GPU: the right error, one sentence, the exact cure. Pure.

What may not live here: xllamacpp, and errors that are no matter of a device.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from evakit.devices import Device, Remedy
from evakit.errors import (
    BackendUnavailableError,
    DriverError,
    EvakitError,
    MissingLibraryError,
    NoGpuError,
    PlacementError,
    VramBudgetError,
    WheelFlavourError,
)

from ._build import EngineBuild
from ._log_lines import LogLine

__all__ = ["check_memory", "main_gpu", "not_imported", "out_of_memory"]

# The project's own index: the package index has builds for the CPU only, under the same versions,
# which is why pip has to be told not to take one that it has kept.
_INDEX: Final = "https://xorbitsai.github.io/xllamacpp/whl/"


def _cuda_build(tag: str, drivers: str) -> Remedy:
    index = f"{_INDEX}{tag}"
    return Remedy(
        what=f"install xllamacpp's build for CUDA {tag[2:4]}.{tag[4:]} ({drivers})",
        pip=f"pip install --force-reinstall --no-cache-dir xllamacpp --index-url {index}",
        uv=f"uv pip install --reinstall-package xllamacpp --no-cache xllamacpp --index {index}",
    )


_CUDA_BUILDS: Final = (
    _cuda_build("cu128", "for NVIDIA's driver 570 or newer"),
    _cuda_build("cu132", "for NVIDIA's driver 595 or newer, and for the newest GPUs"),
)
_CPU_BUILD: Final = "pip install --force-reinstall --no-cache-dir xllamacpp"
_INSTALL_DRIVER: Final = Remedy(
    what="install NVIDIA's driver 570 or newer; in a container, give it the GPU with "
    "'docker run --gpus all'"
)
_SHOW_GPU: Final = Remedy(  # noqa: S604 (text)
    what="take CUDA_VISIBLE_DEVICES away, or have it name the GPU",
    shell="unset CUDA_VISIBLE_DEVICES",
)
_FIND_GPUS: Final = Remedy(what="see which GPUs there are", shell="evakit doctor")  # noqa: S604 (text)
_KEEP_TO_VRAM: Final = Remedy(  # noqa: S604 (text)
    what="take the variable away: with it CUDA goes on in the main memory when the GPU's is full, "
    "without a word",
    shell="unset GGML_CUDA_ENABLE_UNIFIED_MEMORY",
)
_NEED_LESS: Final = Remedy(
    what="set a lower context_tokens or parallel, use a smaller model, or allow more of the GPU's "
    "memory"
)

_NAMES_GPUS: Final = re.compile(r"\s*(?:\d|GPU-|MIG-)")  # otherwise CUDA_VISIBLE_DEVICES hides all
_DRIVER_LIBRARY: Final = re.compile(r"libcuda\.so|nvcuda\.dll")
_CUDA_LIBRARY: Final = re.compile(
    r"lib(?:cublas|cudart|nvrtc|nccl)|(?:cublas|cudart|nvrtc)\w*\.dll"
)
# ggml-cuda.cu, llama-model.cpp, llama-kv-cache.cpp and llama-context.cpp of llama.cpp.
_FULL: Final = re.compile(r"out of memory|cudaMalloc failed|(?:failed|unable) to allocate")


def main_gpu(
    build: EngineBuild, device: Device, *, component: str, environment: Mapping[str, str]
) -> int:
    """Return llama.cpp's number for `device`, before anything is loaded.

    Raises:
        WheelFlavourError: xllamacpp is built without CUDA.
        NoGpuError: it may not see that GPU.
        DriverError: it finds no GPU at all.
        PlacementError: it is set up to go on in the main memory.

    """
    if not build.is_for_cuda:
        raise _refused(
            WheelFlavourError,
            "the xllamacpp that is installed is built without CUDA; its devices are: "
            f"{build.names}",
            _CUDA_BUILDS,
            component=component,
            device=device,
        )
    position = build.position(f"CUDA{device.name.removeprefix('cuda:')}")
    if position is None:
        raise _no_gpu(build, device, component=component, environment=environment)
    # ggml-cuda.cu asks whether it is set, not to what.
    if "GGML_CUDA_ENABLE_UNIFIED_MEMORY" in environment:
        raise _refused(
            PlacementError,
            "GGML_CUDA_ENABLE_UNIFIED_MEMORY is set, so that nothing could tell whether the "
            "model is in the GPU's memory",
            [_KEEP_TO_VRAM],
            component=component,
            device=device,
        )
    return position


def _no_gpu(
    build: EngineBuild, device: Device, *, component: str, environment: Mapping[str, str]
) -> PlacementError:
    visible = environment.get("CUDA_VISIBLE_DEVICES")
    if not build.has_gpu and (visible is None or _NAMES_GPUS.match(visible)):
        why = "xllamacpp is built for CUDA and finds no GPU: the driver is missing or too old"
        return _refused(DriverError, why, [_INSTALL_DRIVER], component=component, device=device)
    why = f"xllamacpp lists no such GPU; its devices are: {build.names}"
    if visible is not None:
        why += f" (CUDA_VISIBLE_DEVICES is {visible!r})"
    fix = _FIND_GPUS if visible is None else _SHOW_GPU
    return _refused(NoGpuError, why, [fix], component=component, device=device)


def not_imported(failure: ImportError, device: Device, *, component: str) -> EvakitError:
    """Return the error for an xllamacpp that cannot be imported."""
    said = str(failure)
    is_driver = _DRIVER_LIBRARY.search(said) is not None
    if device.is_gpu and is_driver:
        why = f"xllamacpp is built for CUDA and NVIDIA's driver is not there ({said})"
        return _refused(DriverError, why, [_INSTALL_DRIVER], component=component, device=device)
    if device.is_gpu and _CUDA_LIBRARY.search(said):
        why = f"xllamacpp lacks a library of CUDA ({said}), which its own builds bring along"
        return _refused(MissingLibraryError, why, _CUDA_BUILDS, component=component, device=device)
    if is_driver:
        problem = (
            f"xllamacpp is built for CUDA and cannot be imported without NVIDIA's driver ({said}); "
            f"install the build for the CPU: {_CPU_BUILD}"
        )
    else:
        cure = _CUDA_BUILDS[0].pip if device.is_gpu else "pip install xllamacpp"
        problem = f"xllamacpp could not be imported ({said}); install it with: {cure}"
    return BackendUnavailableError(problem, backend=component, stage="llm")


def check_memory(need: int | None, limit: int | None, device: Device, *, component: str) -> None:
    """See to it that the model fits into what it may take; llama.cpp itself cannot be held to it.

    Raises:
        VramBudgetError: it does not.

    """
    if need is not None and limit is not None and need > limit:
        raise _refused(
            VramBudgetError,
            f"it needs about {_shown(need)} of the GPU's memory and may take {_shown(limit)}",
            [_NEED_LESS],
            component=component,
            device=device,
        )


def out_of_memory(
    lines: Sequence[LogLine], device: Device, *, component: str
) -> PlacementError | None:
    """Return the error for a model that did not fit on the GPU; None when it is something else."""
    said = next((line.text for line in lines if _FULL.search(line.text)), None)
    if said is None or not device.is_gpu:
        return None
    why = f"the GPU's memory is full: llama.cpp says {said!r}"
    return _refused(VramBudgetError, why, [_NEED_LESS], component=component, device=device)


def _refused(
    error: type[PlacementError],
    why: str,
    fixes: Iterable[Remedy],
    *,
    component: str,
    device: Device,
) -> PlacementError:
    cures = tuple(fixes)
    end = "." if cures[0].command is None else ""
    return error(
        f"{component} was asked for on {device}, and nothing was loaded: {why}; {cures[0]}{end}",
        component=component,
        wanted=device.name,
        why=why,
        fixes=cures,
    )


def _shown(size: int) -> str:
    return f"{size / 2**20:.0f} MiB"
