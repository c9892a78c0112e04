"""Reading the Host: what files and the environment say, before any driver is asked.

A file that is not there, cannot be read or says something else than expected says nothing: what
it would have told stays unknown. So nothing here fails, on any machine. What may not live here:
NVML and CUDA, and deciding what is wrong.
"""

from __future__ import annotations

import os
import platform
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from .inventory import Host

__all__ = ["read_host"]

_ENOUGH: Final = 1 << 20  # bytes of a file; what is looked for stands in the first few thousand

_NVIDIA: Final = "0x10de"  # https://pci-ids.ucw.cz/read/PC/10de
_DISPLAY: Final = "0x03"  # the PCI class of display controllers: 0x0300 VGA, 0x0302 3D
# "NVRM version: NVIDIA UNIX x86_64 Kernel Module  580.95.05  ..." is the proprietary module,
# "... NVIDIA UNIX Open Kernel Module for x86_64  580.95.05  ..." the open one.
_KERNEL_MODULE: Final = re.compile(r"Kernel Module(?: for \S+)?\s+(\d+(?:\.\d+)+)")
_VERSION: Final = re.compile(r"\d+(?:\.\d+)+")

# What runs a container leaves its name in the paths of its cgroup or of its mounts. A plain
# word would not do: a process of the host may be in `docker.service`.
_TRACES: Final = (
    ("kubernetes", re.compile(r"kubepods|/kubelet/pods/")),
    ("podman", re.compile(r"libpod[-_/]|/containers/storage/|overlay-containers")),
    ("docker", re.compile(r"/docker[-/](?:[0-9a-f]{12,}|containers/|overlay2/|rootfs/)")),
    ("lxc", re.compile(r"/lxc[./]|lxc\.payload")),
    ("container", re.compile(r"containerd[-/]|/crio[-/]|machine\.slice/")),
)
# Where a container's mounts betray it: its root, and the files that are put into it.
_TELLING_MOUNTS: Final = frozenset({"/", "/etc/hostname", "/etc/hosts", "/etc/resolv.conf"})


def read_host(
    root: Path = Path("/"),
    environ: Mapping[str, str] = os.environ,
    system: str | None = None,
    machine: str | None = None,
) -> Host:
    """Look at this machine: a few milliseconds, and nothing is loaded.

    Args:
        root: The folder in which `/proc`, `/sys`, `/dev`, `/etc` and `/run` are looked for.
        environ: The environment.
        system: `linux`, `darwin` or `windows`; None asks Python.
        machine: `x86_64`, `aarch64`, `arm64`; None asks Python.

    """
    nodes = _device_nodes(root)
    return Host(
        system=system or {"win32": "windows"}.get(sys.platform, sys.platform),
        machine=machine or {"amd64": "x86_64"}.get(name := platform.machine().lower(), name),
        nvidia_pci=_nvidia_pci(root / "sys/bus/pci/devices"),
        kernel_driver=_kernel_driver(root),
        container=_container(root, environ),
        device_nodes=nodes,
        is_wsl="/dev/dxg" in nodes or "microsoft" in _text(root / "proc/version").lower(),
        is_tegra=_is_there(root / "etc/nv_tegra_release")
        or _is_there(root / "sys/class/tegra-firmware"),
        visible_devices=environ.get("CUDA_VISIBLE_DEVICES"),
        device_order=environ.get("CUDA_DEVICE_ORDER"),
        is_secure_boot=_is_secure_boot(root / "sys/firmware/efi/efivars"),
    )


def _nvidia_pci(folder: Path) -> list[str]:
    return [
        address
        for address in _names(folder)
        if _text(folder / address / "vendor").strip() == _NVIDIA
        and _text(folder / address / "class").startswith(_DISPLAY)
    ]


def _kernel_driver(root: Path) -> str | None:
    found = _KERNEL_MODULE.search(_text(root / "proc/driver/nvidia/version"))
    if found:
        return found[1]
    plain = _VERSION.match(_text(root / "sys/module/nvidia/version"))
    return plain[0] if plain else None


def _device_nodes(root: Path) -> list[str]:
    """Return NVIDIA's device files; `nvidia-caps`, a folder of more of them, tells nothing."""
    return [
        f"/dev/{name}"
        for name in _names(root / "dev")
        if (name.startswith("nvidia") or name == "dxg") and not os.path.isdir(root / "dev" / name)  # noqa: PTH112
    ]


def _container(root: Path, environ: Mapping[str, str]) -> str | None:
    """Return what kind of container this is: by its marks, then by the traces in its paths."""
    paths = [_text(root / "proc/1/cgroup"), _text(root / "proc/self/cgroup")]
    paths += [
        line
        for line in _text(root / "proc/self/mountinfo").splitlines()
        if _TELLING_MOUNTS.intersection(line.split(" ", 5)[4:5])  # the mount point: man 5 proc
    ]
    traces = [kind for kind, trace in _TRACES if any(trace.search(path) for path in paths)]
    told = _text(root / "run/systemd/container").strip()  # systemd writes it inside of one
    signs = (
        ("kubernetes", "KUBERNETES_SERVICE_HOST" in environ or "kubernetes" in traces),
        ("podman", _is_there(root / "run/.containerenv")),
        ("docker", _is_there(root / ".dockerenv")),
        *((kind, True) for kind in traces),
        ("lxc", told == "lxc"),
        ("container", bool(told) or _is_there(root / ".singularity.d")),  # Apptainer's folder
    )
    return next((kind for kind, is_it in signs if is_it), None)


def _is_secure_boot(folder: Path) -> bool | None:
    """Read the EFI variable: four bytes of attributes, and one that is 1 when it is on.

    https://docs.kernel.org/filesystems/efivarfs.html
    """
    for name in _names(folder):
        if name.startswith("SecureBoot-"):
            value = _bytes(folder / name)
            return {0: False, 1: True}.get(value[4]) if len(value) == 5 else None  # noqa: PLR2004
    return None


def _is_there(path: Path) -> bool:
    # Path.exists fails on a folder that may not be entered.
    return os.path.exists(path)  # noqa: PTH110


def _names(folder: Path) -> list[str]:
    try:
        return sorted(os.listdir(folder))  # noqa: PTH208 (names are wanted)
    except OSError:
        return []


def _text(path: Path) -> str:
    return _bytes(path).decode("utf-8", "replace")


def _bytes(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(_ENOUGH)
    except OSError:
        return b""
