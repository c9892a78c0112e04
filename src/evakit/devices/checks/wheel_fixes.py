"""Which wheels cure what: exact commands for pip and uv, chosen for the driver and the GPU.

Two sets of versions work together: the newest of everything on CUDA 13, and the last of CUDA 12
for older drivers and cards. What may not live here: deciding what is wrong.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from ..finding import Remedy
from ..installed import Wheel
from ..inventory import Gpu
from ..machine import Machine
from .driver_fixes import shell_command
from .floors import TURING, driver_supports, has_newest_llamacpp

__all__ = [
    "NAMES",
    "build_ctranslate2",
    "cuda_set",
    "install",
    "install_cudnn",
    "install_engine",
    "reinstall",
]

NAMES: Final = {
    "torch": "PyTorch",
    "onnxruntime": "ONNX Runtime",
    "ctranslate2": "CTranslate2",
    "llama.cpp": "xllamacpp",
}
"""What the engines that are known here are called."""

_TORCH_INDEX: Final = "https://download.pytorch.org/whl/"
_LLAMACPP_INDEX: Final = "https://xorbitsai.github.io/xllamacpp/whl/"
_JETSON_INDEX: Final = "https://pypi.jetson-ai-lab.io/jp6/cu126"
# 1.27.0 asks for a package that does not exist; those before are the last for CUDA 12.
_ONNXRUNTIME: Final = {
    12: "onnxruntime-gpu[cuda,cudnn]>=1.24,<1.27",
    13: "onnxruntime-gpu[cuda,cudnn]>=1.28",
}
_CUDNN: Final = {12: "nvidia-cudnn-cu12", 13: "nvidia-cudnn-cu13"}
_SET: Final = ("torch", "onnxruntime")  # those that share CUDA's libraries in one process


def install(*packages: str, what: str) -> Remedy:
    """Return the remedy that installs packages from the index that is set up."""
    names = " ".join(f'"{name}"' if re.search(r"[\[<>=]", name) else name for name in packages)
    return Remedy(what=what, pip=f"pip install {names}", uv=f"uv pip install {names}")


def cuda_set(machine: Machine, engine: str, gpu: Gpu | None) -> int:
    """Return which of the two sets suits: 12 or 13, CUDA's major number.

    12 where the driver, or the GPU, is too old for 13, and where the other engine that shares
    CUDA's libraries is built for 12 and works.
    """
    inventory = machine.inventory
    driver = inventory.driver
    if driver is not None and driver_supports(driver, (13, 0)) is False:
        return 12 if driver_supports(driver, (12, 0)) is not False else 13
    if gpu is not None and gpu.compute_capability is not None and gpu.compute_capability < TURING:
        return 12
    others = [w for w in machine.installed.wheels if w.engine in _SET and w.engine != engine]
    builds = {w.cuda[0] for w in others if w.cuda is not None and w.is_cpu_only is not True}
    return 12 if engine in _SET and builds == {12} else 13


def _torch(machine: Machine, gpu: Gpu | None) -> list[Remedy]:
    """Return how to come to a build of PyTorch for this machine's GPU."""
    removed = "torch torchvision torchaudio"
    if machine.inventory.host.is_tegra:
        return [_from_index("PyTorch", removed, "torch", _JETSON_INDEX)]
    number = cuda_set(machine, "torch", gpu)
    capability = None if gpu is None else gpu.compute_capability
    is_old = capability is not None and capability < TURING
    tag = "cu130" if number == 13 else "cu126" if is_old else "cu128"  # noqa: PLR2004 (CUDA 13)
    # Where pip is set up to prefer other builds, it must not listen to that now.
    isolated = " --isolated" if machine.installed.index_settings else ""
    return [
        Remedy(
            what=f"install the build of PyTorch for CUDA {tag[2:4]}.{tag[4:]}",
            pip=f"pip uninstall -y {removed} && "
            f"pip install{isolated} torch --index-url {_TORCH_INDEX}{tag}",
            uv=f"uv pip uninstall {removed} && uv pip install torch --torch-backend={tag}",
        ),
        *_forget_settings(machine),
    ]


def _forget_settings(machine: Machine) -> list[Remedy]:
    remedies = []
    for setting in machine.installed.index_settings:
        variable = re.match(r"([A-Z_]+)=", setting)
        is_posix = machine.inventory.host.system != "windows"
        remedies.append(
            Remedy(
                what="take away the setting that prefers builds for the CPU, or the next "
                f"installation brings one back: {setting}",
                shell=f"unset {variable.group(1)}" if variable and is_posix else None,
            )
        )
    return remedies


def _from_index(name: str, removed: str, package: str, index: str) -> Remedy:
    return Remedy(
        what=f"install {name} as it is built for Jetsons",
        pip=f"pip uninstall -y {removed} && pip install {package} --index-url {index}",
        uv=f"uv pip uninstall {removed} && uv pip install {package} --index-url {index}",
    )


def _onnxruntime(machine: Machine, gpu: Gpu | None) -> list[Remedy]:
    """Return how to come to exactly one ONNX Runtime, which can use the GPU."""
    wheel = machine.installed.get("onnxruntime")
    owners = {owner.distribution for owner in wheel.owners} if wheel else set()
    removed = " ".join(sorted({"onnxruntime", "onnxruntime-gpu", *owners}))
    host = machine.inventory.host
    if host.is_tegra:
        return [_from_index("ONNX Runtime", removed, "onnxruntime-gpu", _JETSON_INDEX)]
    if host.machine in {"aarch64", "arm64"}:
        return [
            shell_command(
                "build ONNX Runtime from source: the index has no onnxruntime-gpu for "
                f"{host.machine}",
                "./build.sh --config Release --build_wheel --use_cuda "
                "--cuda_home /usr/local/cuda --cudnn_home /usr",
            )
        ]
    number = cuda_set(machine, "onnxruntime", gpu)
    package = f'"{_ONNXRUNTIME[number]}"'
    return [
        Remedy(
            what=f"leave only the ONNX Runtime for CUDA {number}",
            pip=f"pip uninstall -y {removed} && pip install {package}",
            uv=f"uv pip uninstall {removed} && uv pip install {package}",
        ),
        _keep_onnxruntime(),
    ]


def _keep_onnxruntime() -> Remedy:
    """Return how to keep the build for the CPU from coming back."""
    return Remedy(
        what="keep it so: faster-whisper and piper-tts bring the build for the CPU back. In a uv "
        "project add to pyproject.toml, under [tool.uv], override-dependencies = "
        "[\"onnxruntime ; sys_platform == 'never'\"]; with pip, repeat the command after each "
        "installation"
    )


def reinstall(wheel: Wheel) -> Remedy:
    """Return how to bring the files of a package back that others took with them."""
    name = next((f"{o.distribution}=={o.version}" for o in wheel.owners), wheel.package)
    return Remedy(
        what="install it again",
        pip=f"pip install --force-reinstall --no-deps {name}",
        uv=f"uv pip install --reinstall --no-deps {name}",
    )


def install_cudnn(number: int) -> Remedy:
    """Return how to come to exactly one cuDNN, the one for a major number of CUDA."""
    both, one = " ".join(_CUDNN.values()), _CUDNN[number]
    return Remedy(
        what=f"leave only the cuDNN for CUDA {number}",
        pip=f"pip uninstall -y {both} && pip install {one}",
        uv=f"uv pip uninstall {both} && uv pip install {one}",
    )


def _ctranslate2(machine: Machine, _gpu: Gpu | None) -> list[Remedy]:
    """Return how to come to a CTranslate2 that can use the GPU."""
    host = machine.inventory.host
    if host.is_tegra or host.machine in {"aarch64", "arm64"}:
        return [build_ctranslate2()]
    return [
        Remedy(
            what="install the index's own wheel, which is built for CUDA 12",
            pip="pip install --force-reinstall --no-deps --no-cache-dir ctranslate2",
            uv="uv pip install --reinstall-package ctranslate2 --no-cache ctranslate2",
        )
    ]


def build_ctranslate2() -> Remedy:
    """Return how to build CTranslate2 for the GPU that is there."""
    return shell_command(
        "build CTranslate2 from source on this machine: its wheels have no code for this GPU",
        "git clone --recursive https://github.com/OpenNMT/CTranslate2 && cd CTranslate2 && "
        "cmake -B build -DWITH_CUDA=ON -DWITH_MKL=OFF -DOPENMP_RUNTIME=COMP && "
        "cmake --build build --parallel && sudo cmake --install build && "
        "pip install --force-reinstall --no-deps ./python",
    )


def _llamacpp(machine: Machine, gpu: Gpu | None) -> list[Remedy]:
    """Return how to come to an xllamacpp that can use the GPU; its wheels have their own index."""
    capability = None if gpu is None else gpu.compute_capability
    tag = "cu132" if has_newest_llamacpp(machine.inventory.driver, capability) else "cu128"
    remedies = [
        Remedy(
            what=f"install xllamacpp's build for CUDA {tag[2:4]}.{tag[4:]}",
            pip="pip install --force-reinstall --no-cache-dir xllamacpp "
            f"--index-url {_LLAMACPP_INDEX}{tag}",
            uv="uv pip install --reinstall-package xllamacpp --no-cache xllamacpp "
            f"--index {_LLAMACPP_INDEX}{tag}",
        )
    ]
    if machine.inventory.host.is_tegra:
        build = "--no-binary xllamacpp xllamacpp"
        remedies.insert(
            0,
            Remedy(
                what="build xllamacpp from source for this Jetson",
                pip=f"XLLAMACPP_BUILD_CUDA=1 pip install --force-reinstall --no-cache-dir {build}",
                uv=f"XLLAMACPP_BUILD_CUDA=1 uv pip install --reinstall-package xllamacpp {build}",
            ),
        )
    return remedies


_CURES: Final[dict[str, Callable[[Machine, Gpu | None], list[Remedy]]]] = {
    "torch": _torch,
    "onnxruntime": _onnxruntime,
    "ctranslate2": _ctranslate2,
    "llama.cpp": _llamacpp,
}


def install_engine(machine: Machine, engine: str, gpu: Gpu | None) -> list[Remedy]:
    """Return how to come to a build of an engine that can use this machine's GPU."""
    return _CURES[engine](machine, gpu)
