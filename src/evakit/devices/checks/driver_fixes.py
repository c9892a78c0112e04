"""The cures of what is no matter of Python packages: the driver and its kernel module.

What may not live here: deciding what is wrong.
"""

from __future__ import annotations

from typing import Final

from ..finding import Remedy
from ..machine import Machine

__all__ = ["install_driver", "shell_command", "sign_module", "update_driver"]

_BRANCH: Final = "580"
"""The driver to install: the first branch on which all of the newest builds run."""


def shell_command(what: str, command: str) -> Remedy:
    """Return the remedy that is one command of the shell."""
    return Remedy(what=what, shell=command)


def install_driver(*, is_secure_boot: bool | None = None) -> list[Remedy]:
    """Return how to come to NVIDIA's driver on Linux."""
    remedies = [
        shell_command(
            f"install NVIDIA's driver {_BRANCH} or newer and restart (the command is "
            "Ubuntu's; other systems name the package otherwise)",
            f"sudo apt-get install nvidia-driver-{_BRANCH} && sudo reboot",
        )
    ]
    if is_secure_boot:
        remedies.append(sign_module())
    return remedies


def sign_module() -> Remedy:
    """Return how to have the kernel module accepted under Secure Boot."""
    return shell_command(
        "Secure Boot is on and refuses a kernel module that nobody signed: enrol the key "
        "that signs it, and confirm at the restart (the path is Ubuntu's)",
        "sudo mokutil --import /var/lib/shim-signed/mok/MOK.der && sudo reboot",
    )


def update_driver(machine: Machine) -> Remedy:
    """Return how to come to a newer driver, where this machine's driver is kept."""
    host = machine.inventory.host
    if host.is_tegra:
        return Remedy(what="update JetPack, which brings the driver")
    if host.system == "windows" or host.is_wsl:
        where = "in Windows, not in WSL" if host.is_wsl else "from https://www.nvidia.com/drivers"
        return Remedy(what=f"install NVIDIA's driver {_BRANCH} or newer {where}")
    if host.container is not None:
        return shell_command(
            f"install NVIDIA's driver {_BRANCH} or newer on the container's host",
            f"sudo apt-get install nvidia-driver-{_BRANCH} && sudo reboot",
        )
    return install_driver()[0]
