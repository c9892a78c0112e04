"""What CTranslate2 says on a GPU, and what it means."""

from __future__ import annotations

import pytest

from evakit.devices import Device
from evakit.errors import (
    ArchUnsupportedError,
    DriverError,
    GpuLostError,
    MissingLibraryError,
    NoGpuError,
    PlacementError,
    VramBudgetError,
    WheelFlavourError,
)
from evakit_whisper._refusals import refusal

CUDA_0 = Device("cuda:0")


@pytest.mark.parametrize(
    ("said", "error", "command"),
    [
        (
            "CUDA failed with error CUDA driver version is insufficient for CUDA runtime version",
            DriverError,
            None,
        ),
        (
            "This CTranslate2 package was not compiled with CUDA support",
            WheelFlavourError,
            "pip install --force-reinstall --no-deps --no-cache-dir ctranslate2",
        ),
        (
            "Library libcublas.so.12 is not found or cannot be loaded",
            MissingLibraryError,
            'pip install "nvidia-cublas-cu12>=12.4,<13"',
        ),
        (
            "Library cublas64_12.dll is not found or cannot be loaded",
            MissingLibraryError,
            'pip install "nvidia-cublas-cu12>=12.4,<13"',
        ),
        ("CUDA failed with error out of memory", VramBudgetError, None),
        ("cuBLAS failed with status CUBLAS_STATUS_ALLOC_FAILED", VramBudgetError, None),
        (
            "CUDA failed with error no kernel image is available for execution on the device",
            ArchUnsupportedError,
            "pip install --upgrade ctranslate2",
        ),
        ("cuBLAS failed with status CUBLAS_STATUS_NOT_SUPPORTED", ArchUnsupportedError, None),
        ("CUDA failed with error invalid device ordinal", NoGpuError, "evakit doctor"),
        ("Invalid CUDA device index: 4", NoGpuError, "evakit doctor"),
        ("CUDA failed with error no CUDA-capable device is detected", NoGpuError, "evakit doctor"),
        ("CUDA failed with error an illegal memory access was encountered", GpuLostError, None),
        ("CUDA failed with error unspecified launch failure", GpuLostError, None),
        (
            "cuBLAS failed with status CUBLAS_STATUS_EXECUTION_FAILED",
            PlacementError,
            "evakit doctor",
        ),
    ],
)
def test_what_is_said_becomes_the_error_that_it_means(said, error, command):
    refused = refusal(RuntimeError(said), component="whisper", device=CUDA_0)
    assert type(refused) is error
    assert str(refused).startswith(f"whisper cannot run on cuda:0: CTranslate2 failed: {said}; ")
    assert (refused.component, refused.wanted, refused.found) == ("whisper", "cuda:0", None)
    (fix,) = refused.fixes
    assert fix.command == command
    assert bool(fix.uv) == bool(fix.pip)


def test_what_has_nothing_to_do_with_a_gpu_is_left_alone():
    error = RuntimeError("Unable to open file 'model.bin' in model '/CUDA/base'")
    assert refusal(error, component="whisper", device=CUDA_0) is None


def test_on_the_cpu_nothing_is_a_matter_of_a_gpu():
    error = RuntimeError("CUDA failed with error out of memory")
    assert refusal(error, component="whisper", device=Device("cpu")) is None


def test_what_is_said_at_length_is_cut_and_in_one_line():
    error = RuntimeError("CUDA failed\n" + "x" * 10_000)
    said = str(refusal(error, component="whisper", device=CUDA_0))
    assert len(said) < 500
    assert "\n" not in said
