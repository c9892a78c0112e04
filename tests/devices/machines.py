"""Machines as values: the one of a 4090, changed into any other, and every machine there can be.

`machine()` has an RTX 4090, driver 580.95.05 and all engines built for CUDA 13 with their
libraries. Its parts are changed by keyword: `machine(host={"container": "docker"}, gpus=())`.
`healthy()` is the machines that nothing is wrong with; `machines()` makes any for Hypothesis.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from attrs import evolve
from hypothesis import strategies as st

from evakit.devices.installed import Installed, Owner, Wheel
from evakit.devices.inventory import Driver, Gpu, GpuProcess, Host, Inventory, NvmlFailure
from evakit.devices.library_names import KNOWN, ONNXRUNTIME_12, ONNXRUNTIME_13
from evakit.devices.machine import Machine

MIB = 2**20
GIB = 2**30
SITE = Path("/venv/lib/python3.11/site-packages")
NODES = ("/dev/nvidia0", "/dev/nvidiactl", "/dev/nvidia-uvm")

HOST = Host(
    system="linux",
    machine="x86_64",
    nvidia_pci=["0000:01:00.0"],
    kernel_driver="580.95.05",
    device_nodes=NODES,
    device_order="PCI_BUS_ID",
    is_secure_boot=False,
)
NO_GPU = Host(system="linux", machine="x86_64", is_secure_boot=False)
DRIVER = Driver(version="580.95.05", cuda=(13, 0))
RTX_4090 = Gpu(
    uuid="GPU-4090aaaa-1111-2222-3333-444455556666",
    name="NVIDIA GeForce RTX 4090",
    index=0,
    cuda_index=0,
    compute_capability=(8, 9),
    memory_total=49140 * MIB,
    memory_free=49139 * MIB,
    memory_used=1 * MIB,
    utilization=0,
    pci_bus="0000:01:00.0",
    compute_mode="default",
    processes=(),
)
NO_LIBRARY = NvmlFailure(code=12, text="NVML Shared Library Not Found")
NO_BINDINGS = NvmlFailure(code=None, text="No module named 'pynvml'")


def card(name: str, capability: tuple[int, int] | None, gib: float = 24, **more: Any) -> Gpu:
    """Another card."""
    size = int(gib * GIB)
    uuid = f"GPU-{name.replace(' ', '')}"
    gpu = evolve(RTX_4090, uuid=uuid, name=name, compute_capability=capability)
    return evolve(gpu, **{"memory_total": size, "memory_free": size, "memory_used": 0, **more})


def torch(version: str = "2.13.0+cu130", cuda: tuple[int, int] | None = (13, 0)) -> Wheel:
    """PyTorch; without `cuda` the build for the CPU."""
    said = None if cuda is None else f"{cuda[0]}.{cuda[1]}"
    return Wheel(
        engine="torch",
        package="torch",
        version=version,
        folder=SITE / "torch",
        cuda=cuda,
        is_cpu_only=cuda is None,
        evidence=f"torch/version.py: __version__ = {version}, cuda = {said}",
        owners=[Owner("torch", version)],
    )


def onnxruntime(version: str = "1.31.1", cuda: int | None = 13, *more: str) -> Wheel:
    """ONNX Runtime, with the names of `more` distributions that own it too."""
    name = "onnxruntime" if cuda is None else "onnxruntime-gpu"
    said = "no cuda_version" if cuda is None else f"cuda_version = {cuda}.0"
    return Wheel(
        engine="onnxruntime",
        package="onnxruntime",
        version=version,
        folder=SITE / "onnxruntime",
        cuda=None if cuda is None else (cuda, 0),
        is_cpu_only=cuda is None,
        evidence=f"onnxruntime/capi/build_and_package_info.py: package_name = {name}, {said}",
        owners=[Owner(one, version) for one in (name, *more)],
    )


def ctranslate2(version: str = "4.8.5", cuda: int | None = 12) -> Wheel:
    """CTranslate2."""
    return Wheel(
        engine="ctranslate2",
        package="ctranslate2",
        version=version,
        folder=SITE / "ctranslate2",
        cuda=None if cuda is None else (cuda, 0),
        is_cpu_only=cuda is None,
        evidence="ctranslate2.libs/libctranslate2.so: "
        + ("neither linked to CUDA nor naming cuBLAS" if cuda is None else "names libcublas.so.12"),
        owners=[Owner("ctranslate2", version)],
    )


def llamacpp(cuda: int | None = 12) -> Wheel:
    """xllamacpp, whose version is the same whatever it was built for."""
    return Wheel(
        engine="llama.cpp",
        package="xllamacpp",
        version="2026.10.1",
        folder=SITE / "xllamacpp",
        cuda=None if cuda is None else (cuda, 0),
        is_cpu_only=cuda is None,
        evidence="xllamacpp/xllamacpp.abi3.so: "
        + ("neither linked to CUDA nor naming cuBLAS" if cuda is None else "has code for GPUs"),
        owners=[Owner("xllamacpp", "2026.10.1")],
    )


CPU_WHEELS = (torch("2.13.0+cpu", None), onnxruntime("1.32.0", None), llamacpp(None))
CUDA_WHEELS = (torch(), onnxruntime(), ctranslate2(), llamacpp())
CU12_WHEELS = (torch("2.10.0+cu126", (12, 6)), onnxruntime("1.26.0", 12), ctranslate2(), llamacpp())


def files(*names: str) -> tuple[Path, ...]:
    """The libraries of those names, in NVIDIA's wheels."""
    return tuple(SITE / "nvidia/lib" / name for name in names)


LIBRARIES = files(*ONNXRUNTIME_13, "libcublasLt.so.12", "libcublas.so.12")
CU12_LIBRARIES = files(*ONNXRUNTIME_12)


def machine(
    *,
    host: dict[str, Any] | Host | None = None,
    driver: Driver | None = DRIVER,
    nvml: NvmlFailure | None = None,
    gpus: tuple[Gpu, ...] = (RTX_4090,),
    wheels: tuple[Wheel, ...] = CUDA_WHEELS,
    **installed: Any,
) -> Machine:
    """The machine of a 4090, with changes; an `nvml` that fails knows no driver and no GPU."""
    return Machine(
        inventory=Inventory(
            host=host if isinstance(host, Host) else evolve(HOST, **(host or {})),
            driver=driver if nvml is None else None,
            nvml=nvml,
            gpus=gpus if nvml is None else (),
        ),
        installed=Installed(wheels=wheels, **{"library_files": LIBRARIES, **installed}),
    )


def without(*engines: str) -> tuple[Wheel, ...]:
    """The wheels for CUDA, without those of `engines`."""
    return tuple(wheel for wheel in CUDA_WHEELS if wheel.engine not in engines)


def replaced(*wheels: Wheel) -> tuple[Wheel, ...]:
    """The wheels for CUDA, with these in place of their like."""
    return (*without(*(wheel.engine for wheel in wheels)), *wheels)


ISSUE = machine(
    wheels=(torch("2.9.1+cpu", None), onnxruntime("1.32.0", None), ctranslate2()),
    index_settings=["PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu"],
)
"""The machine that the service of the issue ran on."""


def healthy() -> dict[str, tuple[Machine, str]]:
    """Machines that nothing is wrong with, by name, and the device that is asked for on each."""
    a100 = card("NVIDIA A100", (8, 0), 40, has_mig=True, cuda_index=None, utilization=None)
    part = evolve(
        card("NVIDIA A100 MIG 3g.20gb", None, 20),
        uuid="MIG-1111",
        parent=a100.uuid,
        utilization=None,
        processes=None,
    )
    jetson = Host(system="linux", machine="aarch64", is_tegra=True, device_nodes=["/dev/nvidia0"])
    jetson_wheels = (torch("2.8.0", (12, 6)), onnxruntime("1.23.0", 12), ctranslate2())
    wsl = Host(
        system="linux",
        machine="x86_64",
        device_nodes=["/dev/dxg"],
        is_wsl=True,
        device_order="PCI_BUS_ID",
    )
    mac = Host(system="darwin", machine="arm64")
    turing = card("Tesla T4", (7, 5), 15)
    old = Driver(version="535.183.01", cuda=(12, 2))
    hopper = evolve(card("NVIDIA H100", (9, 0), 80), utilization=97)
    second = evolve(card("NVIDIA GeForce RTX 3060", (8, 6), 12), index=1, cuda_index=1)
    docker = {"container": "docker", "is_secure_boot": None}
    cpu = CPU_WHEELS
    return {
        "an RTX 4090": (machine(), "cuda"),
        "two GPUs": (machine(gpus=(RTX_4090, second)), "cuda:1"),
        "a container with --gpus": (machine(host=docker), "cuda"),
        "WSL": (machine(host=wsl, gpus=(evolve(RTX_4090, processes=None),)), "auto"),
        "a MIG slice": (machine(gpus=(a100, part)), "cuda"),
        "an old card with the set for CUDA 12": (
            machine(
                driver=old, gpus=(turing,), wheels=CU12_WHEELS[:3], library_files=CU12_LIBRARIES
            ),
            "cuda",
        ),
        "an H100": (machine(gpus=(hopper,)), "cuda"),
        "a Jetson with its own wheels": (
            machine(
                host=jetson,
                nvml=NO_LIBRARY,
                wheels=jetson_wheels,
                library_files=(),
                system_libraries=ONNXRUNTIME_12,
            ),
            "auto",
        ),
        "no GPU at all": (machine(host=NO_GPU, nvml=NO_LIBRARY, wheels=cpu), "cpu"),
        "no GPU, and any will do": (machine(host=NO_GPU, nvml=NO_BINDINGS, wheels=cpu), "auto"),
        "a Mac": (machine(host=mac, nvml=NO_BINDINGS, wheels=cpu), "cpu"),
    }


# Any machine, whether or not there can be one.

_versions = st.tuples(st.integers(0, 20), st.integers(0, 20))
_words = st.sampled_from(["", "580.95.05", "1.26.0", "2.13.0+cu130", "x", "9" * 30, "٣.1"])
_sizes = st.none() | st.integers(0, 2**40)
_uuids = st.sampled_from(["GPU-a", "GPU-ab", "GPU-b", "MIG-a", "MIG-b"])

_gpus = st.builds(
    Gpu,
    uuid=_uuids,
    name=st.sampled_from(["RTX 4090", "A100", ""]),
    index=st.integers(0, 3),
    cuda_index=st.none() | st.integers(0, 3),
    compute_capability=st.none() | _versions,
    memory_total=_sizes,
    memory_free=_sizes,
    memory_used=_sizes,
    parent=st.none() | _uuids,
    has_mig=st.booleans(),
    compute_mode=st.sampled_from([None, "default", "exclusive", "prohibited"]),
    processes=st.none()
    | st.lists(
        st.builds(
            GpuProcess,
            pid=st.integers(1, 9),
            memory=_sizes,
            name=st.sampled_from([None, "python", "nvidia-cuda-mps-server"]),
        ),
        max_size=2,
    ).map(tuple),
    is_integrated=st.booleans(),
    lost=st.none() | st.just("GPU is lost"),
)
_hosts = st.builds(
    Host,
    system=st.sampled_from(["linux", "windows", "darwin"]),
    machine=st.sampled_from(["x86_64", "aarch64", "arm64"]),
    nvidia_pci=st.lists(st.just("0000:01:00.0"), max_size=1),
    kernel_driver=st.none() | _words,
    container=st.sampled_from([None, "docker", "podman", "kubernetes", "lxc", "container"]),
    device_nodes=st.lists(st.sampled_from([*NODES, "/dev/dxg"]), max_size=2),
    is_wsl=st.booleans(),
    is_tegra=st.booleans(),
    visible_devices=st.sampled_from([None, "", "-1", "0", "0,7", "GPU-a", "MIG-a,MIG-b"]),
    device_order=st.sampled_from([None, "PCI_BUS_ID", "FASTEST_FIRST"]),
    is_secure_boot=st.sampled_from([None, True, False]),
)
_wheels = st.builds(
    Wheel,
    engine=st.sampled_from(["torch", "onnxruntime", "ctranslate2", "llama.cpp"]),
    package=st.just("package"),
    version=st.none() | _words,
    folder=st.none() | st.just(SITE / "package"),
    cuda=st.none() | _versions,
    is_cpu_only=st.sampled_from([None, True, False]),
    evidence=st.just("its files"),
    owners=st.lists(st.builds(Owner, st.sampled_from(["a", "b"]), _words), max_size=3),
)


def machines() -> st.SearchStrategy[Machine]:
    """Every machine, whatever its parts say of each other."""
    return st.builds(
        Machine,
        inventory=st.builds(
            Inventory,
            host=_hosts,
            driver=st.none()
            | st.builds(Driver, version=st.none() | _words, cuda=st.none() | _versions),
            nvml=st.none()
            | st.builds(
                NvmlFailure,
                code=st.sampled_from([None, 1, 4, 9, 12, 15, 16, 17, 18, 999]),
                text=st.just("NVML says no"),
            ),
            gpus=st.lists(_gpus, max_size=3),
        ),
        installed=st.builds(
            Installed,
            wheels=st.lists(_wheels, max_size=4, unique_by=lambda wheel: wheel.engine),
            libraries=st.lists(
                st.builds(
                    Owner,
                    st.sampled_from(["nvidia-cudnn-cu12", "nvidia-cudnn-cu13"]),
                    st.just("9.1"),
                ),
                max_size=2,
            ),
            library_files=st.lists(st.sampled_from(KNOWN).map(SITE.joinpath), max_size=3),
            system_libraries=st.lists(st.sampled_from(KNOWN), max_size=3),
            index_settings=st.lists(
                st.sampled_from(["PIP_FIND_LINKS=/wheels", "/etc/pip.conf: find-links = x"]),
                max_size=2,
            ),
        ),
    )
