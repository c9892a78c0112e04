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
    CUDA_WHEELS,
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
TORCH_130 = (
    f"pip uninstall -y {TORCH} && pip install torch "
    "--index-url https://download.pytorch.org/whl/cu130",
    f"uv pip uninstall {TORCH} && uv pip install torch --torch-backend=cu130",
)
ORT = "onnxruntime onnxruntime-gpu"
ORT_13 = (
    f'pip uninstall -y {ORT} && pip install "onnxruntime-gpu[cuda,cudnn]>=1.28"',
    f'uv pip uninstall {ORT} && uv pip install "onnxruntime-gpu[cuda,cudnn]>=1.28"',
)
ORT_12 = tuple(command.replace(">=1.28", ">=1.24,<1.27") for command in ORT_13)
LLAMA = "https://xorbitsai.github.io/xllamacpp/whl/"


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
        *(BLOCKER, WheelFlavourError, r"__version__ = 2.13.0\+cpu, cuda = None", TORCH_130),
        about="torch",
    )
    mixed = evolve(torch(), is_cpu_only=None, owners=[Owner("torch", "2"), Owner("torch-x", "2")])
    yield Row(
        *(1, "torch-shadowed", machine(wheels=(mixed,)), engine("torch")),
        *(UNKNOWN, WheelFlavourError, r"torch belongs to torch 2, torch-x 2", TORCH_130),
        about="torch",
    )
    yield Row(
        *(1, "torch-broken", machine(wheels=(broken(torch()),)), engine("torch")),
        *(BLOCKER, WheelFlavourError, "is not there", TORCH_130),
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
    for driver, tag in ((Driver(version="580.95.05", cuda=(13, 0)), "cu128"), (NEW_DRIVER, "cu132")):
        yield Row(
            *(8, "llamacpp-cpu-wheel", machine(driver=driver, wheels=(llamacpp(None),))),
            *(engine("llama.cpp"), BLOCKER, WheelFlavourError, "neither linked to CUDA"),
            (
                "pip install --force-reinstall --no-cache-dir xllamacpp "
                f"--index-url {LLAMA}{tag}",
                "uv pip install --reinstall-package xllamacpp --no-cache xllamacpp "
                f"--index {LLAMA}{tag}",
            ),
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
        hidden = machine(
            host={"visible_devices": value}, gpus=(evolve(RTX_4090, cuda_index=None),)
        )
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
        (
            f"pip uninstall -y {TORCH} && pip install torch "
            "--index-url https://download.pytorch.org/whl/cu126",
            f"uv pip uninstall {TORCH} && uv pip install torch --torch-backend=cu126",
        ),
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
        *("for CUDA 13.2 have sm_75", rf"{LLAMA}cu128$"),
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
    table = checks.__doc__.split("====")[3]
    listed = set(re.findall(r"`([a-z0-9-]+)`", re.sub(r"see `.*?`", "", table)))
    assert {row.number for row in ROWS} == set(range(1, 21))
    assert {row.code for row in ROWS} == listed
