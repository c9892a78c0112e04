"""What is wrong with a machine or with what is installed on it, and the exact cure.

Pure: each check looks at a `Machine`, which is data, and returns findings; nothing is read, loaded
or started. `check_machine` says what keeps every engine from the GPU, `check_engine` what keeps
one. The symptoms, by the code of their finding:

====  ==========================================================================================
 1    `torch-cpu-wheel`, `torch-shadowed`, `torch-broken`
 2    `onnxruntime-cpu-wheel`
 3    `onnxruntime-shadowed`, `onnxruntime-broken`
 4    `onnxruntime-cuda-mismatch`, `onnxruntime-libraries-missing`, `cuda-sets-mixed`
 5    `cudnn-missing`, `cudnn-two-owners`
 6    `cublas-missing`
 7    `ctranslate2-cpu-wheel`
 8    `llamacpp-cpu-wheel`
 9    `driver-missing`, `driver-not-loaded`
10    `container-no-gpu`, `container-no-driver`
11    `driver-too-old`
12    `driver-mismatch`, `gpu-lost`, `container-lost-gpu`, `nvml-unknown`, `nvml-missing`
13    `gpu-hidden`, `no-such-gpu`, `device-order`, `mig-empty`, `no-gpu`
14    `arch-unsupported`
15    `wsl-driver`, `wsl-no-gpu`
16    `jetson-wheel`, `jetson-nvml`
17    `macos`
18    `vram-spill`
19    `forked-worker`, at run time only: see `forked.py`
20    `compute-mode`, `vram-taken`
====  ==========================================================================================

`<engine>-build-unknown` says that a build does not tell whether it is for CUDA. What may not live
here: reading the machine (`reading.py`, `packages.py`), and showing findings.
"""

from __future__ import annotations

from .engine_checks import check_engine, check_package
from .forked import forked_process, forked_worker
from .gpu_checks import check_memory
from .machine_checks import check_machine, has_nvidia
from .wheel_fixes import NAMES

__all__ = [
    "NAMES",
    "check_engine",
    "check_machine",
    "check_memory",
    "check_package",
    "forked_process",
    "forked_worker",
    "has_nvidia",
]
