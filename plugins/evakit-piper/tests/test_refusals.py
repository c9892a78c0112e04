"""What ONNX Runtime says on a GPU, and what it means."""

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
    SilentFallbackError,
    VramBudgetError,
)
from evakit_piper._refusals import fell_back, refusal

ABOUT = {"component": "piper", "device": Device("cuda:0"), "cuda": 13}
NODE = "Non-zero status code returned while running Conv node. Name:'/conv' Status Message: "


@pytest.mark.parametrize(
    ("said", "error"),
    [
        (
            (
                "[ONNXRuntimeError] : 1 : FAIL : Failed to load library "
                "libonnxruntime_providers_cuda.so with error: libcublasLt.so.13: cannot open "
                "shared object file: No such file or directory"
            ),
            MissingLibraryError,
        ),
        (
            (
                'Error loading "onnxruntime_providers_cuda.dll" which depends on "cublas64_12.dll" '
                "which is missing. (Error 126)"
            ),
            MissingLibraryError,
        ),
        (NODE + "cuDNN is not available. Install cuDNN, update the system", MissingLibraryError),
        (
            (
                "[ONNXRuntimeError] : 9 : NOT_IMPLEMENTED : Could not find an implementation\n"
                "for Conv(11) node with name '/conv'"
            ),
            MissingLibraryError,
        ),
        (
            (
                "CUDA failure 35: CUDA driver version is insufficient for CUDA runtime version ; "
                "GPU=-1 ; hostname=h ; file=cuda_execution_provider.cc ; "
                "expr=cudaSetDevice(info_.device_id);"
            ),
            DriverError,
        ),
        (
            NODE + "CUDA error cudaErrorNoKernelImageForDevice:no kernel image is available for "
            "execution on the device",
            ArchUnsupportedError,
        ),
        (
            NODE + "bfc_arena.cc:376 void* onnxruntime::BFCArena::AllocateRawInternal(size_t) "
            "Failed to allocate memory for requested buffer of size 939524096",
            VramBudgetError,
        ),
        ("CUDA failure 2: out of memory ; GPU=0 ; expr=cudaMalloc(&p, size);", VramBudgetError),
        ("CUBLAS failure 3: CUBLAS_STATUS_ALLOC_FAILED ; GPU=0", VramBudgetError),
        ("CUDA failure 101: invalid device ordinal ; GPU=-1", NoGpuError),
        ("CUDA failure 100: no CUDA-capable device is detected ; GPU=-1", NoGpuError),
        ("CUDA failure 700: an illegal memory access was encountered ; GPU=0", GpuLostError),
        ("CUDA failure 719: unspecified launch failure ; GPU=0", GpuLostError),
        ("CUDNN failure 5000: CUDNN_STATUS_EXECUTION_FAILED ; GPU=0", PlacementError),
    ],
)
def test_what_is_said_becomes_the_error_that_it_means(said, error):
    refused = refusal(said, **ABOUT)
    assert type(refused) is error
    assert (refused.component, refused.wanted, refused.found) == ("piper", "cuda:0", None)
    assert str(refused).startswith("piper cannot run on cuda:0: ONNX Runtime failed: ")
    assert "\n" not in str(refused)
    assert refused.fixes


@pytest.mark.parametrize(
    "said",
    [
        "[ONNXRuntimeError] : 7 : INVALID_PROTOBUF : Load model from /CUDA/voice.onnx failed",
        "Required inputs (['sid']) are missing from input feed",
    ],
)
def test_what_has_nothing_to_do_with_a_gpu_is_left_alone(said):
    assert refusal(said, **ABOUT) is None


def test_a_missing_cudnn_is_named_with_the_wheel_for_the_cuda_that_is_there():
    said = "cuDNN is not available. Install cuDNN"
    newest = refusal(said, **ABOUT)
    assert "nvidia-cudnn-cu13" in str(newest)
    assert newest.fixes[0].pip == 'pip install "onnxruntime-gpu[cuda,cudnn]>=1.28,<2"'
    older = refusal(said, **{**ABOUT, "cuda": 12})
    assert "nvidia-cudnn-cu12" in str(older)
    assert older.fixes[0].uv == 'uv pip install "onnxruntime-gpu[cuda,cudnn]>=1.24,<1.27"'


def test_the_name_of_the_host_and_the_path_of_a_source_are_not_passed_on():
    refused = refusal("CUDA failure 2: out of memory ; GPU=0 ; hostname=atlas", **ABOUT)
    assert "out of memory" in str(refused)
    assert "atlas" not in str(refused)


def test_what_is_said_at_length_is_cut():
    assert len(str(refusal("CUDA error " + "x" * 10_000, **ABOUT))) < 600


def test_a_fallback_for_want_of_a_library_is_cured_by_the_library():
    said = "Failed to load library libonnxruntime_providers_cuda.so with error: libcudnn.so.9"
    error = fell_back(said, providers="CPUExecutionProvider", **ABOUT)
    assert type(error) is MissingLibraryError
    assert "nvidia-cudnn-cu13" in str(error)
    assert error.found == "cpu"


def test_a_fallback_for_want_of_the_drivers_library_is_cured_by_the_driver():
    said = (
        "Failed to load library libonnxruntime_providers_cuda.so: libcuda.so.1: cannot open shared "
        "object file: No such file or directory"
    )
    error = fell_back(said, providers="CPUExecutionProvider", **ABOUT)
    assert type(error) is DriverError
    assert "driver 580" in error.fixes[0].what


@pytest.mark.parametrize("said", [None, "Specified provider 'CUDAExecutionProvider' is not in"])
def test_a_fallback_for_no_reason_that_is_known_is_one_all_the_same(said):
    error = fell_back(said, providers="CPUExecutionProvider", **ABOUT)
    assert type(error) is SilentFallbackError
    assert "onnxruntime-gpu" in error.fixes[0].pip
    assert (said or "without an error") in error.why
