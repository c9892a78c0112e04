"""What files and the environment say of a machine, on machines made of files."""

from __future__ import annotations

import os
import platform
import sys
import time

import pytest

from evakit.devices.host import read_host
from evakit.devices.inventory import Host

PLAIN = "Linux version 6.8.0-48-generic (buildd@lcy02) (gcc 13.2.0) #48-Ubuntu SMP"
WSL = "Linux version 5.15.153.1-microsoft-standard-WSL2 (root@941d701f84f1) (gcc 11.2.0) #1 SMP"
PROPRIETARY = (
    "NVRM version: NVIDIA UNIX x86_64 Kernel Module  580.95.05  Tue Sep 23 10:11:16 UTC 2025"
)
OPEN = (
    "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.95.05  Release Build  (dvs@x)\n"
    "GCC version:  gcc version 12.3.0 (Ubuntu 12.3.0-1ubuntu1~22.04)\n"
)
ID = "4f797c539e6c745de61a93ca3ff892358ecbcaccd8414d5db545c38428142970"
EFI = "sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c"


def mount(point, *, root="/", options="rw"):
    return f"690 680 0:52 {root} {point} rw,relatime - overlay overlay {options}\n"


def pci(address, vendor, device_class):
    folder = f"sys/bus/pci/devices/{address}"
    return {f"{folder}/vendor": f"{vendor}\n", f"{folder}/class": f"{device_class}\n"}


@pytest.fixture
def read(machine):
    def read(files=None, environ=None):
        return read_host(machine(files or {}), environ or {}, system="linux", machine="x86_64")

    return read


def test_a_machine_without_anything_has_nothing(read):
    assert read() == Host(system="linux", machine="x86_64")


def test_the_machine_of_the_issue(read):
    nodes = ("nvidia-modeset", "nvidia-uvm", "nvidia0", "nvidiactl")
    host = read(
        {
            **pci("0000:00:02.0", "0x8086", "0x030000"),
            **pci("0000:01:00.0", "0x10de", "0x030000"),
            **pci("0000:01:00.1", "0x10de", "0x040300"),  # its sound
            "proc/driver/nvidia/version": PROPRIETARY,
            "proc/version": PLAIN,
            **{f"dev/{node}": "" for node in (*nodes, "null", "dri/card0")},
            "dev/nvidia-caps/nvidia-cap1": "",
        },
        {"CUDA_VISIBLE_DEVICES": "0", "CUDA_DEVICE_ORDER": "PCI_BUS_ID"},
    )
    assert host == Host(
        system="linux",
        machine="x86_64",
        nvidia_pci=["0000:01:00.0"],
        kernel_driver="580.95.05",
        device_nodes=[f"/dev/{node}" for node in nodes],
        visible_devices="0",
        device_order="PCI_BUS_ID",
    )


def test_a_system_that_is_given_is_not_looked_up(tmp_path):
    host = read_host(tmp_path, {}, system="windows", machine="arm64")
    assert (host.system, host.machine) == ("windows", "arm64")


def test_gpus_without_a_display_count_too(read):
    files = {
        **pci("0001:c4:00.0", "0x10de", "0x030200"),
        **pci("0000:c3:00.0", "0x10de", "0x030200"),
        **pci("0000:05:00.0", "0x10de", "0x068000"),  # an NVSwitch
    }
    assert read(files).nvidia_pci == ("0000:c3:00.0", "0001:c4:00.0")


@pytest.mark.parametrize(
    ("files", "version"),
    [
        ({"proc/driver/nvidia/version": PROPRIETARY}, "580.95.05"),
        ({"proc/driver/nvidia/version": OPEN}, "580.95.05"),
        ({"proc/driver/nvidia/version": OPEN.replace("580.95.05", "35.4.1")}, "35.4.1"),
        ({"sys/module/nvidia/version": "570.133.20\n"}, "570.133.20"),
        ({"proc/driver/nvidia/version": "odd", "sys/module/nvidia/version": "575.51\n"}, "575.51"),
        ({"proc/driver/nvidia/version": "odd", "sys/module/nvidia/version": "odd"}, None),
        ({"proc/driver/nvidia/version": b"\xff\xfe\x00" * 99}, None),
    ],
)
def test_the_kernel_module_tells_its_version(read, files, version):
    assert read(files).kernel_driver == version


@pytest.mark.parametrize(
    ("kind", "files"),
    [
        ("docker", {".dockerenv": ""}),
        ("docker", {"proc/1/cgroup": f"12:cpu:/docker/{ID}\n"}),
        ("docker", {"proc/self/cgroup": f"0::/system.slice/docker-{ID}.scope\n"}),
        ("podman", {"run/.containerenv": "engine=podman", ".dockerenv": ""}),
        ("podman", {"proc/self/cgroup": f"0::/machine.slice/libpod-{ID}.scope/container\n"}),
        ("kubernetes", {"proc/1/cgroup": f"5:cpu:/kubepods/besteffort/pod1/{ID}\n"}),
        ("kubernetes", {"proc/1/cgroup": "0::/kubepods.slice/x.slice/y.scope\n", ".dockerenv": ""}),
        ("lxc", {"proc/1/cgroup": "12:pids:/lxc/web\n"}),
        ("lxc", {"proc/1/cgroup": "0::/lxc.payload/web/init.scope\n"}),
        ("container", {"proc/1/cgroup": "0::/machine.slice/machine-web.scope\n"}),
        ("lxc", {"run/systemd/container": "lxc\n"}),
        ("container", {"run/systemd/container": "systemd-nspawn\n"}),
        ("container", {"proc/self/cgroup": f"0::/system.slice/cri-containerd-{ID}.scope\n"}),
        ("container", {".singularity.d/Singularity": ""}),
    ],
)
def test_a_container_is_told_by_its_marks(read, kind, files):
    assert read(files).container == kind


def test_kubernetes_is_told_by_its_variable(read):
    assert read({}, {"KUBERNETES_SERVICE_HOST": "10.0.0.1"}).container == "kubernetes"


@pytest.mark.parametrize(
    ("kind", "line"),
    [
        ("docker", mount("/", options="rw,lowerdir=/var/lib/docker/overlay2/l/A:/x")),
        ("docker", mount("/etc/hosts", root=f"/var/lib/docker/containers/{ID}/hosts")),
        ("kubernetes", mount("/etc/hosts", root="/var/lib/kubelet/pods/7f/etc-hosts")),
        ("podman", mount("/etc/hostname", root=f"/containers/overlay-containers/{ID}/hostname")),
        ("docker", mount("/etc/resolv.conf", root=f"/docker/containers/{ID}/resolv.conf")),
        ("container", mount("/", options="rw,lowerdir=/var/lib/containerd/io.containerd/1/fs")),
    ],
)
def test_a_container_whose_cgroup_is_hidden_is_told_by_its_mounts(read, kind, line):
    files = {"proc/1/cgroup": "0::/\n", "proc/self/cgroup": "0::/\n", "proc/self/mountinfo": line}
    assert read(files).container == kind


def test_a_host_that_runs_containers_is_none(read):
    merged = f"/var/lib/docker/overlay2/{ID}/merged"
    mounts = mount("/") + mount(merged, options="rw,lowerdir=/var/lib/docker/overlay2/l/A")
    files = {
        "proc/1/cgroup": "0::/init.scope\n",
        "proc/self/cgroup": "0::/system.slice/docker.service\n",
        "proc/self/mountinfo": mounts,
        "run/docker.sock": "",
    }
    assert read(files).container is None


@pytest.mark.parametrize(
    "files", [{"proc/version": WSL}, {"proc/version": PLAIN, "dev/dxg": ""}], ids=["kernel", "dxg"]
)
def test_linux_inside_of_windows_is_told(read, files):
    assert read(files).is_wsl


def test_a_jetson_is_told(machine):
    root = machine({"etc/nv_tegra_release": "# R36 (release), REVISION: 4.0"})
    assert read_host(root, {}).is_tegra
    (root / "etc/nv_tegra_release").unlink()
    assert not read_host(root, {}).is_tegra
    (root / "sys/class/tegra-firmware").mkdir(parents=True)
    assert read_host(root, {}).is_tegra


@pytest.mark.parametrize(
    ("value", "is_on"),
    [
        (b"\x06\x00\x00\x00\x01", True),
        (b"\x06\x00\x00\x00\x00", False),
        (b"\x06\x00\x00\x00\x02", None),
        (b"\x06\x00\x00\x00", None),
        (b"", None),
    ],
)
def test_secure_boot_is_the_fifth_byte(read, value, is_on):
    assert (
        read({EFI: value, EFI.replace("SecureBoot", "BootOrder"): b"12345"}).is_secure_boot is is_on
    )


def test_a_variable_that_is_set_to_nothing_is_not_one_that_is_not_set(read):
    assert read({}, {"CUDA_VISIBLE_DEVICES": ""}).visible_devices == ""


def test_odd_files_tell_nothing(machine):
    names = (
        "proc/driver/nvidia/version",
        "proc/1/cgroup",
        "proc/self/cgroup",
        "proc/self/mountinfo",
        "proc/version",
        "run/systemd/container",
        EFI,
        "sys/bus/pci/devices/0000:01:00.0/vendor",
    )
    noise = bytes(range(256)) * 64
    assert read_host(machine(dict.fromkeys(names, noise)), {}, "linux", "x86_64") == Host(
        system="linux", machine="x86_64", container="container"
    )


def test_what_cannot_be_read_tells_nothing(machine):
    root = machine({"proc/x": "", "sys/bus/pci/devices": "a file in place of a folder"})
    for name in ("version", "self", "1", "driver"):
        (root / "proc" / name).symlink_to(name)  # a circle
    for name in ("dev", ".dockerenv", "run", "etc"):
        (root / name).symlink_to(name)
    (root / EFI).mkdir(parents=True)  # a folder in place of a file
    assert read_host(root, {}, "linux", "x86_64") == Host(system="linux", machine="x86_64")


def test_this_machine_is_read(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "7")
    host = read_host()
    assert host.visible_devices == "7"
    assert host.system in sys.platform
    assert host.machine == platform.machine().lower()


@pytest.mark.parametrize(
    ("system", "machine", "expected"),
    [
        ("win32", "AMD64", ("windows", "x86_64")),
        ("darwin", "arm64", ("darwin", "arm64")),
        ("linux", "aarch64", ("linux", "aarch64")),
    ],
)
def test_systems_and_machines_have_one_name_each(monkeypatch, tmp_path, system, machine, expected):
    monkeypatch.setattr(sys, "platform", system)
    monkeypatch.setattr(platform, "machine", lambda: machine)
    host = read_host(tmp_path, {})
    assert (host.system, host.machine) == expected


def test_it_takes_milliseconds():
    times = []
    for _ in range(20):
        began = time.perf_counter()
        read_host(environ=os.environ)
        times.append(time.perf_counter() - began)
    assert min(times) < 0.02
