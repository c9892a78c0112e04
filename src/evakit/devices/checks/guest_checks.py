"""What keeps a guest from its host's GPU: containers and WSL, rows 10, 12 and 15.

What may not live here: machines that have their GPU to themselves.
"""

from __future__ import annotations

from ...errors import DriverError, GpuLostError, NoGpuError
from ..finding import Finding, Remedy, Severity
from ..inventory import Host, Inventory, NvmlFailure
from .driver_fixes import install_driver, shell_command
from .nvml_codes import BLOCKED, NO_LIBRARY, NOT_LOADED, UNKNOWN
from .seen import seen

__all__ = ["container", "container_failure", "container_remedies", "wsl"]


def container_failure(inventory: Inventory, failure: NvmlFailure) -> Finding | None:
    """Return why NVML does not answer in this container; None when that is not the container's
    fault.
    """
    # Any other error is one that a driver gave, which NVML then has reached.
    if not inventory.host.device_nodes and failure.code in {None, NOT_LOADED, NO_LIBRARY}:
        return container(inventory)
    if failure.code == NO_LIBRARY:
        return _container_without_driver(inventory)
    return _container_lost(inventory) if failure.code in {BLOCKED, UNKNOWN} else None


def wsl(inventory: Inventory) -> Finding:
    """Return why NVML does not answer in this WSL."""
    failure = inventory.nvml
    if "/dev/dxg" not in inventory.host.device_nodes:
        return Finding(
            code="wsl-no-gpu",
            severity=Severity.BLOCKER,
            what="this WSL passes no GPU on: it is WSL 1, or its GPU support is off",
            evidence=f"no /dev/dxg; {seen(inventory)}",
            fix=[
                shell_command(
                    "in Windows, make it WSL 2 and bring that up to date",
                    "wsl --update && wsl --set-version DISTRIBUTION 2",
                )
            ],
            error=NoGpuError,
        )
    if failure is None or failure.code == NO_LIBRARY:
        return Finding(
            code="wsl-driver",
            severity=Severity.BLOCKER,
            what="WSL finds no NVIDIA driver of Windows",
            evidence=seen(inventory),
            fix=[
                shell_command(
                    "install NVIDIA's driver in Windows, never in WSL, then restart WSL from "
                    "Windows",
                    "wsl --shutdown",
                ),
                shell_command(
                    "where /usr/lib/wsl/lib has libnvidia-ml.so.1, let the loader find it",
                    "echo /usr/lib/wsl/lib | sudo tee /etc/ld.so.conf.d/wsl.conf && sudo ldconfig",
                ),
            ],
            error=DriverError,
        )
    return Finding(
        code="wsl-driver",
        severity=Severity.BLOCKER,
        what="a Linux driver of NVIDIA in WSL hides that of Windows, or that does not answer",
        evidence=seen(inventory),
        fix=[
            shell_command(
                "remove the Linux driver; WSL uses the one of Windows",
                "sudo apt-get purge '^nvidia-driver-.*' '^libnvidia-compute-.*' && sudo ldconfig",
            ),
            shell_command("restart WSL, from Windows", "wsl --shutdown"),
        ],
        error=DriverError,
    )


def container_remedies(host: Host) -> list[Remedy]:
    """Return how to give a container of this kind the GPUs; CAPITALS stand for its own names."""
    toolkit = shell_command(
        "where that is refused, set NVIDIA's container toolkit up on the host",
        "sudo nvidia-ctk runtime configure --runtime=docker && sudo systemctl restart docker",
    )
    if host.container == "podman":
        return [
            shell_command(
                "start the container with the GPUs", "podman run --device nvidia.com/gpu=all IMAGE"
            ),
            shell_command(
                "where that is refused, describe them on the host",
                "sudo nvidia-ctk cdi generate --output=/etc/cdi/nvidia.yaml",
            ),
        ]
    if host.container == "kubernetes":
        return [
            Remedy(
                what="ask for a GPU in the pod: resources: {limits: {nvidia.com/gpu: 1}}, on a "
                "cluster with NVIDIA's device plugin"
            )
        ]
    if host.container == "lxc":
        return [
            shell_command(
                "give the container the GPU",
                "lxc config device add CONTAINER gpu gpu && "
                "lxc config set CONTAINER nvidia.runtime true",
            )
        ]
    return [
        shell_command("start the container with the GPUs", "docker run --gpus all IMAGE"),
        Remedy(
            what="with compose, reserve them: deploy: {resources: {reservations: {devices: "
            "[{driver: nvidia, count: all, capabilities: [gpu]}]}}}"
        ),
        toolkit,
    ]


def container(inventory: Inventory) -> Finding:
    """Return the finding about a container that was given no GPU."""
    fix = container_remedies(inventory.host)
    if inventory.host.kernel_driver is None:
        fix += install_driver(is_secure_boot=inventory.host.is_secure_boot)
    return Finding(
        code="container-no-gpu",
        severity=Severity.BLOCKER,
        what="this container was started without the GPU",
        evidence=f"container: {inventory.host.container}; {seen(inventory)}",
        fix=fix,
        error=NoGpuError,
    )


def _container_without_driver(inventory: Inventory) -> Finding:
    return Finding(
        code="container-no-driver",
        severity=Severity.BLOCKER,
        what="this container has the GPU's device files and not the driver's libraries",
        evidence=f"container: {inventory.host.container}; {seen(inventory)}",
        fix=[
            shell_command(
                "ask for the driver's libraries too",
                "docker run --gpus all -e NVIDIA_DRIVER_CAPABILITIES=compute,utility IMAGE",
            )
        ],
        error=DriverError,
    )


def _container_lost(inventory: Inventory) -> Finding:
    # NVIDIA/nvidia-docker#1730: systemd takes the device files away when it reloads its units.
    return Finding(
        code="container-lost-gpu",
        severity=Severity.BLOCKER,
        what="this container has lost the GPU, as happens when the host reloads systemd",
        evidence=f"container: {inventory.host.container}; {seen(inventory)}",
        fix=[
            shell_command("restart the container", "docker restart CONTAINER"),
            shell_command(
                "so that it does not come again, name the GPUs the newer way",
                "docker run --device nvidia.com/gpu=all IMAGE",
            ),
            shell_command(
                'or put "exec-opts": ["native.cgroupdriver=cgroupfs"] into '
                "/etc/docker/daemon.json and restart Docker",
                "sudo systemctl restart docker",
            ),
        ],
        error=GpuLostError,
    )
