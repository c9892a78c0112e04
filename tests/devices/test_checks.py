"""Every symptom is found, said with what was seen, and cured by an exact command.

The rows are those of the table in the docstring of `evakit.devices.checks`.
"""

from __future__ import annotations

import re

import pytest
from attrs import evolve
from hypothesis import given
from machines import (
    CPU_WHEELS,
    CU12_LIBRARIES,
    GIB,
    HOST,
    ISSUE,
    LIBRARIES,
    MIB,
    NO_BINDINGS,
    NO_GPU,
    NO_LIBRARY,
    RTX_4090,
    card,
    ctranslate2,
    files,
    healthy,
    llamacpp,
    machine,
    machines,
    onnxruntime,
    replaced,
    torch,
)

from evakit.devices import checks
from evakit.devices.checks import (
    check_engine,
    check_machine,
    check_memory,
    check_package,
    forked_worker,
)
from evakit.devices.finding import Severity
from evakit.devices.installed import Owner
from evakit.devices.inventory import Driver, GpuProcess, Host, NvmlFailure
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

BLOCKER, WARNING, UNKNOWN = Severity.BLOCKER, Severity.WARNING, Severity.UNKNOWN
OLD_DRIVER = Driver(version="535.183.01", cuda=(12, 2))
NEW_DRIVER = Driver(version="595.45.04", cuda=(13, 2))
PASCAL = card("NVIDIA GeForce GTX 1080", (6, 1), 8)
MAXWELL = card("NVIDIA GeForce GTX 980", (5, 2), 4)
BLACKWELL = card("NVIDIA GeForce RTX 5090", (12, 0), 32)
ORIN = card("Orin", (8, 7), 32, is_integrated=True)
WSL = Host(system="linux", machine="x86_64", device_nodes=["/dev/dxg"], is_wsl=True)
JETSON = Host(system="linux", machine="aarch64", is_tegra=True, device_nodes=["/dev/nvidia0"])
MAC = Host(system="darwin", machine="arm64")
WINDOWS = Host(system="windows", machine="x86_64", device_order="PCI_BUS_ID")
DOCKER = {"container": "docker", "device_nodes": (), "is_secure_boot": None}

TORCH = "torch torchvision torchaudio"
TORCH_INDEX = "https://download.pytorch.org/whl/"
LLAMA_INDEX = "https://xorbitsai.github.io/xllamacpp/whl/"


def pytorch(tag):
    return (
        f"pip uninstall -y {TORCH} && pip install torch --index-url {TORCH_INDEX}{tag}",
        f"uv pip uninstall {TORCH} && uv pip install torch --torch-backend={tag}",
    )


def xllamacpp(tag):
    pip = "pip install --force-reinstall --no-cache-dir xllamacpp --index-url"
    uv = "uv pip install --reinstall-package xllamacpp --no-cache xllamacpp --index"
    return f"{pip} {LLAMA_INDEX}{tag}", f"{uv} {LLAMA_INDEX}{tag}"


ORT = "onnxruntime onnxruntime-gpu"
ORT_13 = (
    f'pip uninstall -y {ORT} && pip install "onnxruntime-gpu[cuda,cudnn]>=1.28"',
    f'uv pip uninstall {ORT} && uv pip install "onnxruntime-gpu[cuda,cudnn]>=1.28"',
)
ORT_12 = tuple(command.replace(">=1.28", ">=1.24,<1.27") for command in ORT_13)


def failure(code, text="no"):
    return NvmlFailure(code=code, text=text)


def broken(wheel):
    evidence = "onnxruntime/__init__.py is not there, while onnxruntime-gpu 1.31.1 counts"
    return evolve(wheel, folder=None, is_cpu_only=None, cuda=None, evidence=evidence)


def used(mib, **more):
    return evolve(
        RTX_4090, memory_used=mib * MIB, memory_free=RTX_4090.memory_total - mib * MIB, **more
    )


def engine(name):
    return lambda m: check_engine(m, name)


def on(device):
    return lambda m: check_machine(m, device=device)


class Row:
    """A symptom: how it is made, and what has to be found then."""

    def __init__(
        self, number, code, made, check, severity, error, evidence, commands, *, about=None
    ):
        self.number, self.code, self.made, self.check = number, code, made, check
        self.severity, self.error, self.evidence = severity, error, evidence
        self.commands, self.engine = commands, about


def rows():  # noqa: PLR0915 (a table)
    """The table, row by row; `commands` is (pip, uv), one of the shell, or None for a sentence."""
    cuda = on("cuda")

    yield Row(
        *(1, "torch-cpu-wheel", machine(wheels=(torch("2.13.0+cpu", None),)), engine("torch")),
        *(BLOCKER, WheelFlavourError, r"__version__ = 2.13.0\+cpu, cuda = None", pytorch("cu130")),
        about="torch",
    )
    mixed = evolve(torch(), is_cpu_only=None, owners=[Owner("torch", "2"), Owner("torch-x", "2")])
    yield Row(
        *(1, "torch-shadowed", machine(wheels=(mixed,)), engine("torch")),
        *(UNKNOWN, WheelFlavourError, r"torch belongs to torch 2, torch-x 2", pytorch("cu130")),
        about="torch",
    )
    yield Row(
        *(1, "torch-broken", machine(wheels=(broken(torch()),)), engine("torch")),
        *(BLOCKER, WheelFlavourError, "is not there", pytorch("cu130")),
        about="torch",
    )
    cpu = machine(wheels=(onnxruntime("1.32.0", None),))
    yield Row(
        *(2, "onnxruntime-cpu-wheel", cpu, engine("onnxruntime"), BLOCKER, WheelFlavourError),
        *("package_name = onnxruntime, no cuda_version", ORT_13),
        about="onnxruntime",
    )
    shadowed = onnxruntime("1.32.0", None, "onnxruntime-gpu")
    yield Row(
        *(3, "onnxruntime-shadowed", machine(wheels=(shadowed,)), engine("onnxruntime")),
        *(BLOCKER, WheelFlavourError, "belongs to onnxruntime 1.32.0, onnxruntime-gpu", ORT_13),
        about="onnxruntime",
    )
    yield Row(
        *(3, "onnxruntime-broken", machine(wheels=(broken(onnxruntime()),))),
        *(engine("onnxruntime"), BLOCKER, WheelFlavourError, "while onnxruntime-gpu", ORT_13),
        about="onnxruntime",
    )
    other = machine(wheels=(onnxruntime(),), library_files=CU12_LIBRARIES)
    yield Row(
        *(4, "onnxruntime-cuda-mismatch", other, engine("onnxruntime"), BLOCKER),
        *(MissingLibraryError, r"cuda_version = 13.0; .*libcublasLt.so.13, libcublas", ORT_13),
        about="onnxruntime",
    )
    none = machine(wheels=(onnxruntime(),), library_files=())
    yield Row(
        *(4, "onnxruntime-libraries-missing", none, engine("onnxruntime"), BLOCKER),
        *(MissingLibraryError, r"neither .* have libcublasLt.so.13", ORT_13),
        about="onnxruntime",
    )
    two_sets = machine(wheels=(torch("2.10.0+cu128", (12, 8)), onnxruntime()))
    yield Row(
        *(4, "cuda-sets-mixed", two_sets, engine("torch"), WARNING, MissingLibraryError),
        *(r"cuda = 12.8; .*cuda_version = 13.0", ORT_12),
    )
    cudnn = [file for file in LIBRARIES if file.name != "libcudnn.so.9"]
    yield Row(
        *(5, "cudnn-missing", machine(library_files=cudnn), engine("onnxruntime"), BLOCKER),
        *(MissingLibraryError, "libcudnn.so.9", cudnn_only(13)),
        about="onnxruntime",
    )
    owners = [Owner("nvidia-cudnn-cu12", "9.28.0.42"), Owner("nvidia-cudnn-cu13", "9.28.1.4")]
    yield Row(
        *(5, "cudnn-two-owners", machine(libraries=owners), engine("onnxruntime"), WARNING),
        *(MissingLibraryError, "cu12 9.28.0.42 and nvidia-cudnn-cu13 9.28.1.4", cudnn_only(13)),
    )
    no_cublas = machine(library_files=files("libcublasLt.so.12"))
    yield Row(
        *(6, "cublas-missing", no_cublas, engine("ctranslate2"), BLOCKER, MissingLibraryError),
        *(r"have libcublas.so.12$", plain("nvidia-cublas-cu12")),
        about="ctranslate2",
    )
    yield Row(
        *(7, "ctranslate2-cpu-wheel", machine(wheels=(ctranslate2(cuda=None),))),
        *(engine("ctranslate2"), BLOCKER, WheelFlavourError, "nor naming cuBLAS"),
        (
            "pip install --force-reinstall --no-deps --no-cache-dir ctranslate2",
            "uv pip install --reinstall-package ctranslate2 --no-cache ctranslate2",
        ),
        about="ctranslate2",
    )
    arm = machine(host={"machine": "aarch64"}, wheels=(ctranslate2(cuda=None),))
    yield Row(
        *(7, "ctranslate2-cpu-wheel", arm, engine("ctranslate2"), BLOCKER, WheelFlavourError),
        *("nor naming cuBLAS", r"git clone .*CTranslate2 && .*-DWITH_CUDA=ON"),
        about="ctranslate2",
    )
    for driver, tag in (
        (Driver(version="580.95.05", cuda=(13, 0)), "cu128"),
        (NEW_DRIVER, "cu132"),
    ):
        yield Row(
            *(8, "llamacpp-cpu-wheel", machine(driver=driver, wheels=(llamacpp(None),))),
            *(engine("llama.cpp"), BLOCKER, WheelFlavourError, "neither linked to CUDA"),
            xllamacpp(tag),
            about="llama.cpp",
        )
    bare = {"kernel_driver": None, "device_nodes": ()}
    yield Row(
        *(9, "driver-missing", machine(host=bare, nvml=NO_LIBRARY), cuda, BLOCKER, DriverError),
        *(r"0000:01:00.0; kernel module: not loaded", r"apt-get install nvidia-driver-580"),
    )
    yield Row(
        *(9, "driver-not-loaded", machine(host=bare, nvml=failure(9)), cuda, BLOCKER),
        *(DriverError, r"NVML error 9", "^sudo modprobe nvidia$"),
    )
    docker = machine(host=DOCKER, nvml=NO_LIBRARY)
    yield Row(
        *(10, "container-no-gpu", docker, cuda, BLOCKER, NoGpuError),
        *(r"docker; NVIDIA on the PCI bus: 0000:01:00.0;.*files: none", "^docker run --gpus all"),
    )
    half = machine(host={**DOCKER, "device_nodes": HOST.device_nodes}, nvml=NO_LIBRARY)
    yield Row(
        *(10, "container-no-driver", half, cuda, BLOCKER, DriverError, "/dev/nvidiactl"),
        "NVIDIA_DRIVER_CAPABILITIES=compute,utility",
    )
    ancient = machine(driver=Driver(version="470.256.02", cuda=(11, 4)))
    yield Row(
        *(11, "driver-too-old", ancient, cuda, BLOCKER, DriverError),
        *("470.256.02, supports CUDA 11.4; CUDA 12 needs 525.60.13", "nvidia-driver-580"),
    )
    yield Row(
        *(11, "driver-too-old", machine(driver=OLD_DRIVER), engine("torch"), BLOCKER, DriverError),
        *(r"driver 535.183.01, which supports CUDA 12.2; CUDA 13 needs 580", "nvidia-driver-580"),
        about="torch",
    )
    yield Row(
        *(12, "driver-mismatch", machine(nvml=failure(18)), cuda, BLOCKER, DriverError),
        *(r"module: 580.95.05;.*NVML error 18", "^sudo reboot$"),
    )
    yield Row(
        *(12, "gpu-lost", machine(nvml=failure(15)), cuda, BLOCKER, GpuLostError),
        *("NVML error 15", "^sudo reboot$"),
    )
    yield Row(
        *(12, "gpu-lost", machine(gpus=(evolve(RTX_4090, lost="GPU is lost"),)), cuda, BLOCKER),
        *(GpuLostError, r"GPU-4090.*: GPU is lost", "^sudo reboot$"),
    )
    reloaded = machine(host={"container": "docker"}, nvml=failure(999, "Unknown Error"))
    yield Row(
        *(12, "container-lost-gpu", reloaded, cuda, BLOCKER, GpuLostError),
        *("NVML error 999: Unknown Error", "^docker restart"),
    )
    yield Row(
        *(12, "nvml-unknown", machine(nvml=failure(999)), cuda, UNKNOWN, DriverError),
        *("NVML error 999", "^nvidia-smi$"),
    )
    yield Row(
        *(12, "nvml-missing", machine(nvml=NO_BINDINGS), cuda, UNKNOWN, DriverError),
        *("No module named 'pynvml'", plain("nvidia-ml-py")),
    )
    for value in ("", "-1", "7"):
        hidden = machine(host={"visible_devices": value}, gpus=(evolve(RTX_4090, cuda_index=None),))
        yield Row(
            *(13, "gpu-hidden", hidden, cuda, BLOCKER, NoGpuError),
            *(f"CUDA_VISIBLE_DEVICES='{value}'", "^unset CUDA_VISIBLE_DEVICES$"),
        )
    yield Row(
        *(13, "no-such-gpu", machine(), on("cuda:5"), BLOCKER, NoGpuError),
        *("visible are: cuda:0 .NVIDIA GeForce RTX 4090. GPU-4090", None),
    )
    uncounted = tuple(evolve(RTX_4090, uuid=f"GPU-{n}", cuda_index=None) for n in "ab")
    fastest = machine(host={"device_order": "FASTEST_FIRST"}, gpus=uncounted)
    yield Row(
        *(13, "device-order", fastest, cuda, UNKNOWN, NoGpuError),
        *("FASTEST_FIRST", "^export CUDA_DEVICE_ORDER=PCI_BUS_ID$"),
    )
    whole = card("A100", (8, 0), 40, has_mig=True, cuda_index=None)
    yield Row(
        *(13, "mig-empty", machine(gpus=(whole,)), cuda, BLOCKER, NoGpuError),
        *("has MIG enabled, and NVML lists no instance", "^sudo nvidia-smi -i 0 -mig 0$"),
    )
    yield Row(
        *(13, "no-gpu", machine(host=NO_GPU, nvml=NO_LIBRARY), cuda, BLOCKER, NoGpuError),
        *("on the PCI bus: nothing; kernel module: not loaded; device files: none", None),
    )
    yield Row(
        *(14, "arch-unsupported", machine(gpus=(PASCAL,)), engine("torch"), BLOCKER),
        *(ArchUnsupportedError, r"capability 6.1; PyTorch's builds for cu130 have sm_75, .*sm_120"),
        pytorch("cu126"),
        about="torch",
    )
    yield Row(
        *(14, "arch-unsupported", machine(gpus=(PASCAL,)), engine("onnxruntime"), BLOCKER),
        *(ArchUnsupportedError, "since 1.28 have sm_75", ORT_12),
        about="onnxruntime",
    )
    yield Row(
        *(14, "arch-unsupported", machine(gpus=(MAXWELL,)), engine("ctranslate2"), BLOCKER),
        *(ArchUnsupportedError, "compute capability 5.2; .*sm_53, sm_60", "-DWITH_CUDA=ON"),
        about="ctranslate2",
    )
    newest = machine(gpus=(PASCAL,), wheels=replaced(llamacpp(13)))
    yield Row(
        *(14, "arch-unsupported", newest, engine("llama.cpp"), BLOCKER, ArchUnsupportedError),
        *("for CUDA 13.2 have sm_75", xllamacpp("cu128")),
        about="llama.cpp",
    )
    yield Row(
        *(15, "wsl-driver", machine(host=WSL, nvml=NO_LIBRARY), cuda, BLOCKER, DriverError),
        *("files: /dev/dxg; NVML error 12", "^wsl --shutdown$"),
    )
    yield Row(
        *(15, "wsl-driver", machine(host=WSL, nvml=failure(9)), on("auto"), BLOCKER, DriverError),
        *("NVML error 9", "^sudo apt-get purge '.nvidia-driver"),
    )
    first = evolve(WSL, device_nodes=())
    yield Row(
        *(15, "wsl-no-gpu", machine(host=first, nvml=NO_LIBRARY), cuda, BLOCKER, NoGpuError),
        *("no /dev/dxg", "^wsl --update && wsl --set-version"),
    )
    jetson = machine(host=JETSON, nvml=NO_LIBRARY, wheels=(torch(),))
    yield Row(
        *(16, "jetson-wheel", jetson, engine("torch"), UNKNOWN, ArchUnsupportedError),
        *("nv_tegra_release", "--index-url https://pypi.jetson-ai-lab.io/jp6/cu126$"),
        about="torch",
    )
    yield Row(
        *(16, "arch-unsupported", machine(host=JETSON, gpus=(ORIN,)), engine("torch"), BLOCKER),
        *(ArchUnsupportedError, "capability 8.7; .*sm_80", "jetson-ai-lab.io/jp6/cu126$"),
        about="torch",
    )
    yield Row(
        *(16, "jetson-nvml", jetson, cuda, UNKNOWN, NoGpuError, "NVML error 12", None),
    )
    yield Row(
        *(17, "macos", machine(host=MAC, nvml=NO_BINDINGS), cuda, BLOCKER, NoGpuError),
        *("darwin on arm64", None),
    )
    for host, gpu in ((WINDOWS, used(48000)), (WSL, used(48000))):
        yield Row(
            *(18, "vram-spill", machine(host=host, gpus=(gpu,)), cuda, WARNING, VramBudgetError),
            *("48000 MiB of 49140 MiB are in use, and Windows moves the rest", None),
        )
    shared = machine(gpus=(used(48000, is_integrated=True),))
    yield Row(
        *(18, "vram-spill", shared, cuda, WARNING, VramBudgetError, "shares the main memory", None)
    )
    yield Row(
        *(19, "forked-worker", None, lambda _: [forked_worker(FORKED)], BLOCKER, NoGpuError),
        *("Cannot re-initialize CUDA in forked subprocess", None),
    )
    for mode, severity in (("exclusive", WARNING), ("prohibited", BLOCKER)):
        yield Row(
            *(20, "compute-mode", machine(gpus=(evolve(RTX_4090, compute_mode=mode),)), cuda),
            *(severity, NoGpuError, f"compute mode {mode}", "^sudo nvidia-smi -i 0 -c DEFAULT$"),
        )
    holder = GpuProcess(pid=4242, memory=47 * GIB, name="python")
    full = machine(gpus=(used(48500, processes=(holder,)),))
    yield Row(
        *(20, "vram-taken", full, cuda, WARNING, VramBudgetError),
        *("640 MiB of 49140 MiB are free; held by: python 4242 with 48128 MiB", "^nvidia-smi -i"),
    )


FORKED = (
    "Cannot re-initialize CUDA in forked subprocess. To use CUDA with multiprocessing, you must "
    "use the 'spawn' start method\nand more"
)


def cudnn_only(major):
    both = "nvidia-cudnn-cu12 nvidia-cudnn-cu13"
    one = f"nvidia-cudnn-cu{major}"
    return (
        f"pip uninstall -y {both} && pip install {one}",
        f"uv pip uninstall {both} && uv pip install {one}",
    )


def plain(package):
    return f"pip install {package}", f"uv pip install {package}"


ROWS = list(rows())


@pytest.mark.parametrize("row", ROWS, ids=[f"{r.number}-{r.code}-{n}" for n, r in enumerate(ROWS)])
def test_each_symptom_is_found_and_cured(row):
    found = row.check(row.made)
    (finding,) = [one for one in found if one.code == row.code]

    assert finding.severity is row.severity
    assert finding.error is row.error
    assert finding.engine == row.engine
    assert re.search(row.evidence, finding.evidence), finding.evidence
    assert finding.fix, finding
    first = finding.fix[0]
    if row.commands is None:
        assert first.command is None
        assert first.what
    elif isinstance(row.commands, tuple):
        assert (first.pip, first.uv, first.shell) == (*row.commands, None)
    else:
        assert re.search(row.commands, first.command), first.command


def test_every_row_of_the_table_and_every_code_in_it_is_produced_here():
    table = re.split(r"^==.*$", checks.__doc__, flags=re.MULTILINE)[1]
    listed = set(re.findall(r"`([a-z0-9-]+)`", table))
    assert {row.number for row in ROWS} == set(range(1, 21))
    assert {row.code for row in ROWS} == listed


# The cure suits the driver, the card and what else is installed.


def commands(found, code):
    (finding,) = [one for one in found if one.code == code]
    return finding.fix[0].pip


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, ">=1.28"),
        ({"driver": None, "nvml": NO_LIBRARY}, ">=1.28"),
        ({"driver": OLD_DRIVER}, ">=1.24,<1.27"),
        ({"driver": Driver(version="550.54.14", cuda=None)}, ">=1.24,<1.27"),
        ({"driver": Driver(version="470.1", cuda=(11, 4))}, ">=1.28"),  # it has to be updated
        ({"gpus": (PASCAL,)}, ">=1.24,<1.27"),
        ({"with": torch("2.10.0+cu128", (12, 8))}, ">=1.24,<1.27"),
        ({"with": torch()}, ">=1.28"),
        ({"with": torch("2.13.0+cpu", None)}, ">=1.28"),
    ],
)
def test_one_set_of_versions_is_proposed_that_suits_driver_card_and_neighbours(changes, expected):
    changes = dict(changes)
    wheels = (onnxruntime("1.32.0", None), *filter(None, [changes.pop("with", None)]))
    found = check_engine(machine(wheels=wheels, **changes), "onnxruntime")
    assert f"onnxruntime-gpu[cuda,cudnn]{expected}" in commands(found, "onnxruntime-cpu-wheel")


@pytest.mark.parametrize(
    ("changes", "tag"),
    [
        ({}, "cu130"),
        ({"driver": OLD_DRIVER}, "cu128"),
        ({"gpus": (PASCAL,)}, "cu126"),
        ({"with": onnxruntime("1.26.0", 12)}, "cu128"),
    ],
)
def test_the_build_of_pytorch_suits_them_too(changes, tag):
    changes = dict(changes)
    wheels = (torch("2.9.1+cpu", None), *filter(None, [changes.pop("with", None)]))
    found = check_engine(machine(wheels=wheels, **changes), "torch")
    assert commands(found, "torch-cpu-wheel").endswith(f"download.pytorch.org/whl/{tag}")


@pytest.mark.parametrize(
    ("driver", "gpu", "tag"),
    [
        (NEW_DRIVER, RTX_4090, "cu132"),
        (Driver(version="595.45.04", cuda=None), RTX_4090, "cu132"),
        (Driver(version="590.44.01", cuda=(13, 1)), RTX_4090, "cu128"),
        (NEW_DRIVER, PASCAL, "cu128"),
        (Driver(), RTX_4090, "cu128"),
    ],
)
def test_the_newest_build_of_xllamacpp_is_for_drivers_that_know_its_cuda(driver, gpu, tag):
    found = check_engine(machine(driver=driver, gpus=(gpu,), wheels=(llamacpp(None),)), "llama.cpp")
    assert commands(found, "llamacpp-cpu-wheel").endswith(tag)


def test_settings_that_prefer_cpu_wheels_are_evidence_are_passed_over_and_are_to_be_taken_away():
    (finding,) = check_engine(ISSUE, "torch")
    setting = "PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu"
    assert setting in finding.evidence
    assert "pip install --isolated torch --index-url" in finding.fix[0].pip
    assert setting in finding.fix[1].what
    assert finding.fix[1].shell == "unset PIP_EXTRA_INDEX_URL"


def test_a_setting_in_a_file_is_named_and_no_command_is_made_up_for_it():
    setting = "/etc/pip.conf: extra-index-url = https://download.pytorch.org/whl/cpu"
    made = machine(wheels=(torch("2.9.1+cpu", None),), index_settings=[setting])
    (finding,) = check_engine(made, "torch")
    assert setting in finding.fix[1].what
    assert finding.fix[1].command is None


def test_the_cpu_build_of_onnxruntime_is_kept_out_with_uvs_override():
    (finding,) = check_engine(machine(wheels=CPU_WHEELS), "onnxruntime")
    assert """override-dependencies = ["onnxruntime ; sys_platform == 'never'"]""" in (
        finding.fix[1].what
    )


def test_all_that_own_onnxruntime_are_removed():
    wheel = onnxruntime("1.31.1", None, "onnxruntime-directml", "onnxruntime-gpu")
    found = check_engine(machine(wheels=(wheel,)), "onnxruntime")
    removed = "pip uninstall -y onnxruntime onnxruntime-directml onnxruntime-gpu &&"
    assert commands(found, "onnxruntime-shadowed").startswith(removed)


def test_builds_over_each_other_are_a_warning_while_the_one_for_cuda_is_on_top():
    wheel = onnxruntime("1.31.1", 13, "onnxruntime")
    (finding,) = check_engine(machine(wheels=(wheel,)), "onnxruntime")
    assert (finding.code, finding.severity) == ("onnxruntime-shadowed", WARNING)


def test_the_index_has_no_onnxruntime_gpu_for_aarch64():
    made = machine(host={"machine": "aarch64"}, wheels=(onnxruntime("1.32.0", None),))
    (finding,) = check_engine(made, "onnxruntime")
    assert finding.fix[0].pip is None
    assert "--use_cuda" in finding.fix[0].shell


def test_a_jetson_gets_wheels_for_jetsons_and_builds_what_has_none():
    made = machine(host=JETSON, gpus=(ORIN,), wheels=(*CPU_WHEELS, ctranslate2(cuda=None)))
    assert "jetson-ai-lab" in commands(check_engine(made, "onnxruntime"), "onnxruntime-cpu-wheel")
    (finding,) = check_engine(made, "ctranslate2")
    assert "-DWITH_CUDA=ON" in finding.fix[0].shell
    build = "XLLAMACPP_BUILD_CUDA=1 pip install"
    assert commands(check_engine(made, "llama.cpp"), "llamacpp-cpu-wheel").startswith(build)


# Generations of cards.


@pytest.mark.parametrize(
    ("wheel", "gpu", "driver", "code"),
    [
        (torch("2.13.0+cu130", (13, 0)), BLACKWELL, NEW_DRIVER, None),
        (torch("2.6.0+cu124", (12, 4)), BLACKWELL, NEW_DRIVER, "arch-unsupported"),
        (torch("2.6.0+cu124", (12, 4)), PASCAL, NEW_DRIVER, None),
        (torch("2.10.0+cu128", (12, 8)), card("V100", (7, 0)), NEW_DRIVER, None),
        (torch("2.11.0+cu128", (12, 8)), card("V100", (7, 0)), NEW_DRIVER, "arch-unsupported"),
        (torch("2.13.0a0+git", (13, 0)), PASCAL, NEW_DRIVER, None),  # somebody's own build
        (torch("2.13.0+cu130", (13, 0)), card("?", None), NEW_DRIVER, None),
        (ctranslate2(), BLACKWELL, NEW_DRIVER, None),  # compiled by the driver
        (ctranslate2(), card("H100", (9, 0)), OLD_DRIVER, "arch-unsupported"),
        (ctranslate2("4.5.0"), card("GTX 980", (5, 2)), NEW_DRIVER, None),  # not the known list
        (onnxruntime("1.26.0", 12), BLACKWELL, NEW_DRIVER, None),
        (onnxruntime("1.22.0", 12), MAXWELL, NEW_DRIVER, None),
        (llamacpp(13), card("A100", (8, 0)), NEW_DRIVER, None),
        (llamacpp(12), BLACKWELL, OLD_DRIVER, None),
        (llamacpp(12), PASCAL, Driver(version="570.1", cuda=None), None),
        (llamacpp(12), PASCAL, Driver(), None),  # nothing is known of the driver
    ],
)
def test_a_build_fits_a_card_by_its_code_or_by_the_drivers_compiler(wheel, gpu, driver, code):
    both = (*LIBRARIES, *CU12_LIBRARIES)
    made = machine(driver=driver, gpus=(gpu,), wheels=(wheel,), library_files=both)
    found = check_engine(made, wheel.engine)
    assert [one.code for one in found] == ([] if code is None else [code])


def test_a_driver_that_is_too_old_to_compile_is_to_be_updated_or_another_wheel_taken():
    a100 = machine(gpus=(card("A100", (8, 0)),), wheels=(llamacpp(13),))
    (finding,) = check_engine(a100, "llama.cpp")
    # It may have been built from source for this card, which nothing on disk tells.
    assert (finding.code, finding.severity) == ("arch-unsupported", WARNING)
    assert "compiled with CUDA 13.2, and driver 580.95.05 is older" in finding.evidence
    assert "nvidia-driver-580" in finding.fix[0].shell
    assert finding.fix[1].pip.endswith("cu128")


def test_a_card_that_no_wheel_has_code_for_any_more_is_said_to_be_one():
    (finding,) = check_engine(machine(gpus=(MAXWELL,)), "onnxruntime")
    assert finding.fix[0].command is None
    assert "ask for device 'cpu'" in finding.fix[0].what


def test_of_two_cards_the_one_that_a_build_has_no_code_for_is_a_warning():
    second = evolve(PASCAL, index=1, cuda_index=1)
    made = machine(gpus=(RTX_4090, second), wheels=(torch(),))
    (finding,) = check_engine(made, "torch")
    assert finding.severity is WARNING
    assert check_engine(made, "torch", gpu=RTX_4090) == ()
    (finding,) = check_engine(made, "torch", gpu=second)
    assert finding.severity is BLOCKER


def test_a_mig_slice_is_of_its_parents_generation():
    whole = card("P100", (6, 0), has_mig=True, cuda_index=None)
    part = evolve(card("slice", None), uuid="MIG-1", parent=whole.uuid)
    (finding,) = check_engine(machine(gpus=(whole, part), wheels=(torch(),)), "torch")
    assert "compute capability 6.0" in finding.evidence


# The machine.


@pytest.mark.parametrize(
    ("container", "command"),
    [
        ("docker", "docker run --gpus all IMAGE"),
        ("podman", "podman run --device nvidia.com/gpu=all IMAGE"),
        ("lxc", "lxc config device add CONTAINER gpu gpu && .*"),
        ("kubernetes", None),
        ("container", "docker run --gpus all IMAGE"),
    ],
)
def test_each_kind_of_container_is_given_the_gpu_its_own_way(container, command):
    (finding,) = check_machine(machine(host={**DOCKER, "container": container}, nvml=NO_LIBRARY))
    if command is None:
        assert "nvidia.com/gpu: 1" in finding.fix[0].what
    else:
        assert re.fullmatch(command, finding.fix[0].shell)


def test_the_driver_may_be_missing_on_the_containers_host_as_well():
    host = {**DOCKER, "kernel_driver": None, "is_secure_boot": True}
    (finding,) = check_machine(machine(host=host, nvml=NO_LIBRARY))
    assert finding.code == "container-no-gpu"
    assert any("nvidia-driver-580" in (remedy.shell or "") for remedy in finding.fix)


def test_secure_boot_wants_the_module_signed():
    host = {"kernel_driver": None, "device_nodes": (), "is_secure_boot": True}
    for code in (9, 12):
        (finding,) = check_machine(machine(host=host, nvml=failure(code)))
        assert any("mokutil --import" in (remedy.shell or "") for remedy in finding.fix)


def test_a_driver_without_its_libraries_is_half_a_driver():
    (finding,) = check_machine(machine(nvml=NO_LIBRARY))
    assert finding.code == "driver-missing"
    assert "libraries are not" in finding.what


def test_in_wsl_the_driver_is_updated_in_windows():
    made = machine(host=WSL, driver=Driver(version="470.1", cuda=(11, 4)))
    (finding,) = check_machine(made)
    assert finding.code == "driver-too-old"
    assert finding.fix[0].command is None
    assert "in Windows, not in WSL" in finding.fix[0].what


def test_a_driver_that_finds_no_card_is_said():
    (finding,) = check_machine(machine(gpus=()))
    assert (finding.code, finding.error) == ("no-gpu", NoGpuError)
    assert "driver 580.95.05, 0 GPUs" in finding.evidence
    (finding,) = check_machine(machine(host={"container": "docker"}, gpus=()))
    assert finding.code == "container-no-gpu"


def test_without_nvml_windows_cannot_be_told_to_have_no_gpu():
    made = machine(host=WINDOWS, nvml=NO_BINDINGS)
    assert check_machine(made, device="auto") == ()
    (finding,) = check_machine(made)
    assert (finding.code, finding.severity) == ("nvml-missing", UNKNOWN)


def test_a_container_without_any_gpu_is_told_how_to_get_one():
    made = machine(host=evolve(NO_GPU, container="docker"), nvml=NO_LIBRARY)
    assert check_machine(made, device="auto") == ()
    (finding,) = check_machine(made)
    assert finding.code == "no-gpu"
    assert finding.fix[0].shell == "docker run --gpus all IMAGE"


def test_a_second_card_that_is_lost_is_a_warning_unless_it_is_the_one_asked_for():
    lost = evolve(card("RTX 3060", (8, 6)), index=1, cuda_index=None, lost="GPU is lost")
    made = machine(gpus=(RTX_4090, lost))
    (finding,) = check_machine(made)
    assert (finding.code, finding.severity) == ("gpu-lost", WARNING)
    (finding,) = check_machine(made, device=lost.uuid)
    assert (finding.code, finding.severity) == ("gpu-lost", BLOCKER)


def test_names_that_hide_what_comes_after_them_are_a_warning():
    second = evolve(card("RTX 3060", (8, 6)), index=1, cuda_index=None)
    made = machine(host={"visible_devices": "0,7,1"}, gpus=(RTX_4090, second))
    (finding,) = check_machine(made)
    assert (finding.code, finding.severity) == ("gpu-hidden", WARNING)
    (named, hidden) = check_machine(made, device=second.uuid)
    assert (named.code, named.severity, hidden.code) == ("no-such-gpu", BLOCKER, "gpu-hidden")
    assert "hidden are: RTX 3060" in named.evidence


def test_a_value_that_hides_everything_does_so_whatever_the_order():
    gpus = tuple(evolve(RTX_4090, uuid=f"GPU-{n}", cuda_index=None) for n in "ab")
    for value, code in (("", "gpu-hidden"), ("-1", "gpu-hidden"), ("1", "device-order")):
        host = {"device_order": None, "visible_devices": value}
        (finding,) = check_machine(machine(host=host, gpus=gpus))
        assert finding.code == code


def test_on_windows_a_variable_is_taken_away_the_windows_way():
    gpu = evolve(RTX_4090, cuda_index=None)
    (finding,) = check_machine(machine(host=evolve(WINDOWS, visible_devices=""), gpus=(gpu,)))
    assert finding.fix[0].shell == "set CUDA_VISIBLE_DEVICES="


def test_a_card_that_is_shared_through_mps_is_in_order():
    server = GpuProcess(pid=7, memory=None, name="nvidia-cuda-mps-server")
    gpu = evolve(RTX_4090, compute_mode="exclusive", processes=(server,))
    assert check_machine(machine(gpus=(gpu,))) == ()


def test_of_two_cards_one_that_lets_nobody_compute_is_a_warning():
    closed = evolve(card("T4", (7, 5)), index=1, cuda_index=1, compute_mode="prohibited")
    made = machine(gpus=(RTX_4090, closed))
    (finding,) = check_machine(made)
    assert finding.severity is WARNING
    (finding,) = check_machine(made, device="cuda:1")
    assert finding.severity is BLOCKER


def test_memory_that_a_model_needs_and_does_not_get_is_a_blocker():
    gpu = used(40_000, processes=None)
    inventory = machine(gpus=(gpu,)).inventory
    assert check_memory(inventory, gpu) == ()
    assert check_memory(inventory, gpu, needed=9_140 * MIB) == ()
    (finding,) = check_memory(inventory, gpu, needed=9_141 * MIB)
    assert (finding.severity, finding.error) == (BLOCKER, VramBudgetError)
    assert "9140 MiB of 49140 MiB are free, and 9141 MiB are needed" in finding.evidence
    assert "the driver names none" in finding.evidence


def test_memory_that_cannot_be_read_is_no_finding():
    gpu = evolve(RTX_4090, memory_free=None)
    assert check_memory(machine(gpus=(gpu,)).inventory, gpu, needed=GIB) == ()


# What only shows at run time, and what is no matter of the GPU.


def test_a_forked_worker_is_known_by_cudas_error_only_in_another_process():
    text = "CUDA failed with error initialization error"
    assert forked_worker(text) is None
    assert forked_worker("out of memory", loaded_in=1) is None
    finding = forked_worker(text, loaded_in=1, engine="ctranslate2")
    assert finding.engine == "ctranslate2"
    assert finding.evidence == f"{text}; loaded in process 1"
    assert "spawn" in finding.fix[0].what


def test_a_package_of_which_nothing_is_left_is_broken_on_any_device():
    wheel = broken(onnxruntime())
    (finding,) = check_package(machine(wheels=(wheel,)), "onnxruntime")
    assert finding.code == "onnxruntime-broken"
    again = "--no-deps onnxruntime-gpu==1.31.1"
    assert finding.fix[0].pip == f"pip install --force-reinstall {again}"
    assert finding.fix[0].uv == f"uv pip install --reinstall {again}"
    assert check_package(machine(), "onnxruntime") == ()


def test_a_build_that_does_not_tell_cannot_be_told():
    wheel = evolve(llamacpp(None), is_cpu_only=None)
    (finding,) = check_engine(machine(wheels=(wheel,)), "llama.cpp")
    assert (finding.code, finding.severity) == ("llamacpp-build-unknown", UNKNOWN)


# Nothing wrong, nothing found.


@pytest.mark.parametrize("name", healthy())
def test_a_machine_that_is_in_order_gives_no_finding(name):
    made, device = healthy()[name]
    assert check_machine(made, device=device) == ()
    if device != "cpu" and made.inventory.host.nvidia_pci:
        for engine in checks.NAMES:
            assert check_engine(made, engine) == ()


def test_each_part_of_the_healthy_machine_counts():
    assert check_machine(machine()) == ()
    assert [one for name in checks.NAMES for one in check_engine(machine(), name)] == []
    assert check_engine(machine(wheels=()), "torch") == ()


def test_on_the_cpu_no_gpu_is_looked_at():
    for row in ROWS:
        if row.made is not None:
            assert check_machine(row.made, device="cpu") == ()


@given(machines())
def test_no_machine_makes_a_check_fail(made):
    gpus = (None, *made.inventory.gpus)
    found = [
        *(one for device in DEVICES for one in check_machine(made, device=device)),
        *(
            one
            for name in checks.NAMES
            for gpu in gpus
            for one in check_engine(made, name, gpu=gpu)
        ),
        *(one for name in checks.NAMES for one in check_package(made, name)),
    ]
    for one in found:
        assert issubclass(one.error, PlacementError)
        assert one.fix
        assert one.evidence
        assert not one.what.endswith(".")
        for remedy in one.fix:
            assert (remedy.pip is None) == (remedy.uv is None)
            assert remedy.command is None or "None" not in remedy.command
        assert hash(one) is not None
        assert one.to_json()["code"] == one.code


DEVICES = ("auto", "cpu", "cuda", "cuda:0", "cuda:3", "GPU-a", "MIG-a")


@given(machines())
def test_a_gpu_that_is_asked_for_and_cannot_be_used_is_never_a_mere_warning(made):
    for device in DEVICES[2:]:
        usable = made.inventory.visible if device == "cuda" else made.inventory.find(device)
        if not usable:
            found = check_machine(made, device=device)
            assert any(one.severity is not WARNING for one in found)


@given(machines())
def test_what_is_no_warning_comes_first(made):
    for device in DEVICES:
        severities = [one.severity is WARNING for one in check_machine(made, device=device)]
        assert severities == sorted(severities)


# Where one thing ends and the next begins.


def test_a_machine_is_restarted_where_it_is():
    assert "machine that the container runs on" in (
        check_machine(machine(host={"container": "docker"}, nvml=failure(15)))[0].fix[0].what
    )
    assert check_machine(machine(nvml=failure(15)))[0].fix[0].what == "restart the machine"


@pytest.mark.parametrize(
    ("host", "where"),
    [
        ({}, "and restart"),
        ({"container": "docker"}, "on the container's host"),
        (WINDOWS, "from https://www.nvidia.com/drivers"),
    ],
)
def test_a_driver_is_updated_where_it_is(host, where):
    made = machine(host=host, driver=Driver(version="470.1", cuda=(11, 4)))
    (finding,) = check_machine(made)
    assert where in finding.fix[0].what


def test_a_warning_about_a_build_does_not_hide_what_its_libraries_lack():
    wheel = onnxruntime("1.31.1", 13, "onnxruntime")
    found = check_engine(machine(wheels=(wheel,), library_files=()), "onnxruntime")
    assert [one.code for one in found] == ["onnxruntime-shadowed", "onnxruntime-libraries-missing"]


def test_a_build_without_cuda_is_all_that_is_said_of_it():
    wheel = onnxruntime("1.31.1", None)
    found = check_engine(machine(wheels=(wheel,), library_files=()), "onnxruntime")
    assert [one.code for one in found] == ["onnxruntime-cpu-wheel"]


@pytest.mark.parametrize(
    ("version", "is_old"), [("525.60.13", False), ("525.60.12", True), ("525", True), (None, False)]
)
def test_a_driver_that_names_no_cuda_is_judged_by_its_version(version, is_old):
    made = machine(driver=Driver(version=version, cuda=None))
    assert [one.code for one in check_machine(made)] == ["driver-too-old"] * is_old


@pytest.mark.parametrize(
    ("wheel", "gpu", "is_known"),
    [
        (onnxruntime("1.24.0", 12), MAXWELL, True),
        (onnxruntime("1.23.2", 12), MAXWELL, False),
        (ctranslate2("4.8.0"), MAXWELL, True),
        (ctranslate2("4.7.1"), MAXWELL, False),
        (torch("2.8.0+cu128", (12, 8)), card("V100", (7, 0)), False),
        (torch("2.7.1+cu128", (12, 8)), card("V100", (7, 0)), True),
    ],
)
def test_lists_of_cards_hold_for_the_versions_that_they_were_read_from(wheel, gpu, is_known):
    made = machine(gpus=(gpu,), wheels=(wheel,), library_files=(*LIBRARIES, *CU12_LIBRARIES))
    codes = [one.code for one in check_engine(made, wheel.engine)]
    assert codes == ["arch-unsupported"] * is_known


@pytest.mark.parametrize(
    ("wheel", "gpu", "is_supported"),
    [
        (torch("2.9.0+cu129", (12, 9)), card("GB200", (10, 0)), True),
        (torch("2.9.0+cu129", (12, 9)), card("T4", (7, 5)), False),
        (torch("2.9.0+cu128", (12, 8)), card("T4", (7, 5)), True),  # its list is not known
    ],
)
def test_builds_for_aarch64_have_lists_of_their_own(wheel, gpu, is_supported):
    made = machine(host={"machine": "aarch64"}, gpus=(gpu,), wheels=(wheel,))
    assert (check_engine(made, "torch") == ()) is is_supported


def test_the_oldest_card_of_cuda_13_gets_it():
    turing = card("T4", (7, 5), 15)
    made = machine(driver=NEW_DRIVER, gpus=(turing,), wheels=CPU_WHEELS)
    assert commands(check_engine(made, "torch"), "torch-cpu-wheel").endswith("cu130")
    assert commands(check_engine(made, "llama.cpp"), "llamacpp-cpu-wheel").endswith("cu132")


def test_the_oldest_card_that_a_wheel_has_code_for_is_offered_that_wheel():
    for capability, is_offered in (((5, 0), True), ((3, 7), False)):
        gpu = card("old", capability)
        (finding,) = check_engine(machine(gpus=(gpu,), wheels=(torch(),)), "torch")
        assert (finding.fix[0].pip is not None) is is_offered


def test_code_for_a_later_card_of_the_same_generation_does_not_run():
    ampere = card("A100", (8, 0))
    wheel = torch("2.13.0+cu130", (13, 0))
    assert check_engine(machine(gpus=(ampere,), wheels=(wheel,)), "torch") == ()
    made = machine(gpus=(card("CMP", (7, 4)),), wheels=(wheel,))
    assert check_engine(made, "torch")[0].code == "arch-unsupported"


def test_windows_is_told_where_spilling_is_switched_off_and_shared_memory_is_not():
    (finding,) = check_machine(machine(host=WINDOWS, gpus=(used(48_000),)))
    assert "Prefer No Sysmem Fallback" in finding.fix[0].what
    (finding,) = check_machine(machine(gpus=(used(48_000, is_integrated=True),)))
    assert "Sysmem" not in finding.fix[0].what


def test_memory_is_full_from_95_percent_on():
    for mib, found in ((46_682, 0), (46_683, 1)):
        assert len(check_machine(machine(host=WINDOWS, gpus=(used(mib),)))) == found


def test_what_is_shown_and_named_is_no_finding():
    hidden = evolve(card("RTX 3060", (8, 6)), index=1, cuda_index=None)
    for value in ("0", "GPU-4090aaaa", RTX_4090.uuid):
        made = machine(host={"visible_devices": value}, gpus=(RTX_4090, hidden))
        assert check_machine(made) == ()


def test_more_mig_instances_may_be_named_than_are_shown():
    whole = card("A100", (8, 0), 40, has_mig=True, cuda_index=None)
    parts = [evolve(card(f"part {n}", None, 20), uuid=f"MIG-{n}", parent=whole.uuid) for n in "12"]
    gpus = (whole, parts[0], evolve(parts[1], cuda_index=None))
    assert check_machine(machine(host={"visible_devices": "MIG-1,MIG-2"}, gpus=gpus)) == ()


def test_a_card_by_itself_has_no_order():
    gpu = evolve(RTX_4090, cuda_index=None)
    host = {"device_order": None, "visible_devices": "3"}
    assert check_machine(machine(host=host, gpus=(gpu,)))[0].code == "gpu-hidden"


def test_cards_that_are_lost_or_divided_are_not_hidden():
    lost = evolve(RTX_4090, cuda_index=None, lost="GPU is lost")
    found = check_machine(machine(host={"visible_devices": ""}, gpus=(lost,)))
    assert [one.code for one in found] == ["gpu-lost"]


def test_a_lost_card_is_not_the_one_that_is_asked_for_by_another_name():
    lost = evolve(card("RTX 3060", (8, 6)), index=1, cuda_index=None, lost="GPU is lost")
    made = machine(gpus=(RTX_4090, lost))
    (finding,) = check_machine(made, device=RTX_4090.uuid)
    assert finding.severity is WARNING


def test_who_uses_a_card_for_one_program_is_said():
    gpu = evolve(RTX_4090, compute_mode="exclusive")
    assert check_machine(machine(gpus=(gpu,)))[0].evidence.endswith("nobody that the driver names")
    gpu = evolve(gpu, processes=(GpuProcess(pid=7, memory=None, name="python"),))
    assert check_machine(machine(gpus=(gpu,)))[0].evidence.endswith("used by python 7")


def test_one_cudnn_is_as_many_as_there_should_be():
    owners = [Owner("nvidia-cudnn-cu13", "9.28.1.4")]
    assert check_engine(machine(libraries=owners), "onnxruntime") == ()


def test_the_cudnn_that_stays_is_that_of_the_engines():
    owners = [Owner("nvidia-cudnn-cu12", "9"), Owner("nvidia-cudnn-cu13", "9")]
    wheels = (onnxruntime("1.26.0", 12),)
    made = machine(wheels=wheels, libraries=owners, library_files=CU12_LIBRARIES)
    (finding,) = check_engine(made, "onnxruntime")
    assert finding.fix[0].pip.endswith("pip install nvidia-cudnn-cu12")


def test_a_setting_is_no_command_on_windows():
    setting = "PIP_FIND_LINKS=wheels"
    made = machine(host=WINDOWS, wheels=(torch("2.9+cpu", None),), index_settings=[setting])
    assert check_engine(made, "torch")[0].fix[1].command is None


def test_every_wsl_has_the_device_file_of_windows_whosever_the_gpu_is():
    assert check_machine(machine(host=WSL, nvml=NO_LIBRARY), device="auto") == ()
    (finding,) = check_machine(machine(host=WSL, nvml=NO_BINDINGS), device="auto")
    assert (finding.code, finding.severity) == ("nvml-missing", UNKNOWN)
    first = evolve(WSL, device_nodes=())
    assert check_machine(machine(host=first, nvml=NO_BINDINGS), device="auto") == ()
    assert check_machine(machine(host=NO_GPU, nvml=NO_BINDINGS), device="auto") == ()
