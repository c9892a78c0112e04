"""A GPU that cannot be had is refused before anything is loaded, with the reason and the cure."""

from __future__ import annotations

import sys
import time

import pytest

from evakit.abc import LoadContext
from evakit.devices import Device
from evakit.errors import (
    BackendUnavailableError,
    DriverError,
    MissingLibraryError,
    NoGpuError,
    PlacementError,
    VramBudgetError,
    WheelFlavourError,
)
from evakit_llamacpp import LlamaCppLLM
from evakit_llamacpp._build import EngineBuild, EngineDevice
from evakit_llamacpp._refusals import check_memory, main_gpu, not_imported, out_of_memory

CPU, FIRST, SECOND = Device("cpu"), Device("cuda:0"), Device("cuda:1")
CPU_DEVICE = EngineDevice(name="CPU", kind="CPU")
INDEX = "https://xorbitsai.github.io/xllamacpp/whl/"


def gpu(number, kind="GPU", name="CUDA", identity=None):
    identity = f"0000:0{number + 1}:00.0" if identity is None else identity
    return EngineDevice(name=f"{name}{number}", kind=kind, identity=identity)


def build(*devices, is_for_cuda=True):
    return EngineBuild(devices=[*devices, CPU_DEVICE], is_for_cuda=is_for_cuda)


def refused(some, device=FIRST, **environment):
    with pytest.raises(PlacementError) as caught:
        main_gpu(some, device, component="llamacpp", environment=environment)
    error = caught.value
    assert (error.component, error.wanted) == ("llamacpp", device.name)
    assert str(error).startswith(f"llamacpp was asked for on {device}, and nothing was loaded: ")
    assert error.why in str(error)
    assert str(error.fixes[0]) in str(error)
    return error


# The real build


def test_the_wheel_of_the_package_index_is_a_build_without_cuda():
    llm = LlamaCppLLM()
    llm.name = "llamacpp"
    begun = time.monotonic()
    with pytest.raises(WheelFlavourError) as caught:
        llm.load_model(LoadContext(device=FIRST))
    assert time.monotonic() - begun < 2
    error = caught.value
    assert error.why == (
        "the xllamacpp that is installed is built without CUDA; its devices are: CPU"
    )
    assert [fix.pip for fix in error.fixes] == [
        f"pip install --force-reinstall --no-cache-dir xllamacpp --index-url {INDEX}{tag}"
        for tag in ("cu128", "cu132")
    ]
    assert error.fixes[0].uv == (
        f"uv pip install --reinstall-package xllamacpp --no-cache xllamacpp --index {INDEX}cu128"
    )


def test_what_the_real_engine_says_of_its_build_is_understood():
    import xllamacpp

    read = EngineBuild.read(xllamacpp.get_device_info(), xllamacpp.get_system_info())
    assert (read.is_for_cuda, read.has_gpu, read.names) == (False, False, "CPU")


# Builds that are not here


@pytest.mark.parametrize(
    ("features", "is_for_cuda"),
    [
        ("CUDA : ARCHS = 860,890 | USE_GRAPHS = 1 | CPU : SSE3 = 1 | ", True),
        ("BLAS : X = 1 | CUDA : ARCHS = 860 | CPU : SSE3 = 1 | ", True),
        ("CPU : SSE3 = 1 | LLAMAFILE = 1 | ", False),
        ("ROCm : NO_VMM = 1 | CPU : SSE3 = 1 | ", False),
        ("", False),
    ],
)
def test_a_build_for_cuda_says_so_even_where_it_finds_no_gpu(features, is_for_cuda):
    cpu = {"name": "CPU", "type": "GGML_BACKEND_DEVICE_TYPE_CPU", "device_id": ""}
    assert EngineBuild.read([cpu], features).is_for_cuda == is_for_cuda


@pytest.mark.parametrize("device", [gpu(0, name="Vulkan"), gpu(0, name="ROCm"), gpu(0, name="MTL")])
def test_a_gpu_that_is_not_nvidias_is_none_of_those_that_are_asked_for(device):
    some = build(device, is_for_cuda=False)
    assert some.has_gpu
    assert isinstance(refused(some), WheelFlavourError)


def test_blas_computes_in_the_main_memory():
    assert not build(EngineDevice(name="BLAS", kind="ACCEL"), is_for_cuda=False).has_gpu


@pytest.mark.parametrize("environment", [{}, {"CUDA_VISIBLE_DEVICES": "0"}])
def test_a_build_for_cuda_that_finds_no_gpu_lacks_the_driver(environment):
    error = refused(build(), **environment)
    assert isinstance(error, DriverError)
    assert "install NVIDIA's driver 570 or newer" in str(error)
    assert str(error).endswith("'docker run --gpus all'.")


@pytest.mark.parametrize("visible", ["", "-1", "none"])
def test_a_gpu_that_the_environment_hides_is_said_to_be_hidden(visible):
    error = refused(build(), CUDA_VISIBLE_DEVICES=visible)
    assert isinstance(error, NoGpuError)
    assert f"(CUDA_VISIBLE_DEVICES is {visible!r})" in str(error)
    assert error.fixes[0].shell == "unset CUDA_VISIBLE_DEVICES"


def test_a_number_beyond_the_last_gpu_is_refused_with_those_there_are():
    error = refused(build(gpu(0)), SECOND)
    assert isinstance(error, NoGpuError)
    assert error.why == "xllamacpp lists no such GPU; its devices are: CUDA0, CPU"


@pytest.mark.parametrize("value", ["1", "0", ""])
def test_memory_that_spills_without_a_word_is_refused(value):
    error = refused(build(gpu(0)), GGML_CUDA_ENABLE_UNIFIED_MEMORY=value)
    assert type(error) is PlacementError
    assert error.fixes[0].shell == "unset GGML_CUDA_ENABLE_UNIFIED_MEMORY"


# Which number llama.cpp has for a GPU


@pytest.mark.parametrize(
    ("devices", "device", "number"),
    [
        ([gpu(0)], FIRST, 0),
        ([gpu(0), gpu(1)], SECOND, 1),
        ([gpu(0, name="Vulkan", identity="0000:09:00.0"), gpu(0), gpu(1)], SECOND, 2),
        ([gpu(0, name="Vulkan"), gpu(0), gpu(1)], SECOND, 1),
        ([gpu(0, identity=""), gpu(1, identity="")], SECOND, 1),
        ([gpu(0, kind="IGPU")], FIRST, 0),
        ([EngineDevice(name="BLAS", kind="ACCEL"), gpu(0)], FIRST, 0),
    ],
)
def test_a_gpu_has_the_number_of_its_place_among_those_that_llama_cpp_would_use(
    devices, device, number
):
    assert main_gpu(build(*devices), device, component="llamacpp", environment={}) == number


@pytest.mark.parametrize(
    ("devices", "device"),
    [
        # llama.cpp takes the first of two builds for one GPU, and no integrated one beside others.
        ([gpu(0, name="Vulkan"), gpu(0)], FIRST),
        ([gpu(0), gpu(1, kind="IGPU")], SECOND),
    ],
)
def test_a_gpu_that_llama_cpp_would_pass_over_is_refused(devices, device):
    assert isinstance(refused(build(*devices), device), NoGpuError)


# An xllamacpp that cannot be imported


@pytest.mark.parametrize(
    ("said", "device", "error", "cure"),
    [
        ("libcuda.so.1: cannot open shared object file", FIRST, DriverError, "NVIDIA's driver 570"),
        (
            "libcublas.so.12: cannot open shared object file",
            FIRST,
            MissingLibraryError,
            "whl/cu128",
        ),
        ("No module named 'xllamacpp'", FIRST, BackendUnavailableError, "whl/cu128"),
        ("No module named 'xllamacpp'", CPU, BackendUnavailableError, "pip install xllamacpp"),
        (
            "libcuda.so.1: cannot open shared object file",
            CPU,
            BackendUnavailableError,
            "install the build for the CPU: pip install --force-reinstall --no-cache-dir xllamacpp",
        ),
        (
            "libstdc++.so.6: version `GLIBCXX_3.4.30' not found",
            CPU,
            BackendUnavailableError,
            "pip install xllamacpp",
        ),
    ],
)
def test_an_import_that_fails_says_what_is_missing(said, device, error, cure):
    raised = not_imported(ImportError(said), device, component="llamacpp")
    assert type(raised) is error
    assert said in str(raised)
    assert cure in str(raised)


def test_without_xllamacpp_loading_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "xllamacpp", None)
    llm = LlamaCppLLM()
    llm.name = "llamacpp"
    with pytest.raises(BackendUnavailableError, match="install it with: pip install xllamacpp"):
        llm.load_model(LoadContext())


# Memory


def test_a_model_that_needs_more_than_it_may_take_is_refused():
    with pytest.raises(VramBudgetError, match=r"about 600 MiB .* may take 500 MiB; set a lower"):
        check_memory(600 * 2**20, 500 * 2**20, FIRST, component="llamacpp")


@pytest.mark.parametrize(("need", "limit"), [(500, 500), (None, 500), (500, None)])
def test_a_model_that_fits_or_is_not_limited_is_not_refused(need, limit):
    check_memory(need, limit, FIRST, component="llamacpp")


def test_a_gpu_that_is_full_is_told_from_the_log(lines):
    error = out_of_memory(lines("out_of_memory"), FIRST, component="llamacpp")
    assert isinstance(error, VramBudgetError)
    assert "allocating 92.10 MiB on device 0: cudaMalloc failed: out of memory" in str(error)


def test_another_failure_is_not_taken_for_a_gpu_that_is_full(lines):
    assert out_of_memory(lines("full_offload"), FIRST, component="llamacpp") is None
    assert out_of_memory(lines("out_of_memory"), CPU, component="llamacpp") is None
