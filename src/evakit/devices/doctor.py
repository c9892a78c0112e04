"""The doctor: what is wrong with this machine for the device that is asked for, as one value.

Pure: it looks at a `Machine`. What may not live here: reading that, the checks themselves, and
tables for people (`evakit.cli.doctor`).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any, Final

from attrs import field, frozen

from .checks import NAMES, check_engine, check_machine, check_package, has_nvidia
from .evidence import Proof, WarmUp
from .finding import Finding, Severity
from .installed import Installed, Wheel
from .inventory import Gpu, Inventory
from .machine import Machine

__all__ = ["Diagnosis", "Trial", "examine"]

_ORDER: Final = tuple(Severity)


def _all(items: Iterable[Any]) -> tuple[Any, ...]:
    return tuple(items)


@frozen(kw_only=True)
class Trial:
    """A model that was loaded to see."""

    component: str
    """Its kind, name and model: `tts piper joe`."""
    label: str
    """Where it ran; see `Lease.label`."""
    proof: Proof | None
    warm_up: WarmUp | None
    on_cpu: WarmUp | None = None
    """The same work on the CPU, of what ran on a GPU."""

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {
            "component": self.component,
            "label": self.label,
            "proof": self.proof and self.proof.to_json(),
            "warm_up": _work(self.warm_up),
            "on_cpu": _work(self.on_cpu),
        }


def _work(warm_up: WarmUp | None) -> dict[str, Any] | None:
    if warm_up is None:
        return None
    return {
        "seconds": warm_up.seconds,
        "amount": warm_up.amount,
        "unit": warm_up.unit,
        "rate": warm_up.rate,
    }


@frozen(kw_only=True)
class Diagnosis:
    """What was found."""

    machine: Machine
    device: str
    """What was asked for: `auto`, `cpu`, `cuda`, `cuda:0` or a GPU's UUID."""
    findings: tuple[Finding, ...] = field(default=(), converter=_all)
    """The first is the one to cure first."""
    trials: tuple[Trial, ...] = field(default=(), converter=_all)
    """The models that were loaded to see; empty when none was."""

    @property
    def exit_code(self) -> int:
        """0 for healthy, 1 when something was found, 2 when something could not be told."""
        severities = {finding.severity for finding in self.findings}
        if severities - {Severity.UNKNOWN}:
            return 1
        return 2 if severities else 0

    @property
    def usable(self) -> tuple[str, ...]:
        """The engines that are installed and that nothing here keeps from the GPU."""
        inventory = self.machine.inventory
        against = [f for f in self.findings if f.severity is not Severity.WARNING]
        if self.device == "cpu" or not inventory.visible or any(f.engine is None for f in against):
            return ()
        kept = {finding.engine for finding in against}
        return tuple(w.engine for w in self.machine.installed.wheels if w.engine not in kept)

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values; sizes are bytes, and null is what could not be told.

        `device` is what was asked for, `exit_code` what the command ends with. `findings` are
        those of `Finding.to_json`, `trials` those of `Trial.to_json`, `usable` the engines that
        nothing keeps from the GPU. `machine` has what was looked at: `host`, `driver`, `nvml` (why
        it did not answer), `gpus`, `engines` (each `Wheel`), `libraries` and `index_settings`.
        """
        return {
            "device": self.device,
            "exit_code": self.exit_code,
            "findings": [finding.to_json() for finding in self.findings],
            "usable": list(self.usable),
            "trials": [trial.to_json() for trial in self.trials],
            "machine": {
                **_inventory(self.machine.inventory),
                **_installed(self.machine.installed),
            },
        }

    def __str__(self) -> str:
        if not self.findings:
            return self.summary
        lines = []
        for finding in self.findings:
            lines.append(f"{finding.severity}: {finding}")
            lines += [f"  {remedy}" for remedy in finding.fix]
        return "\n".join(lines)

    @property
    def summary(self) -> str:
        """Say in a sentence what can run where; where a model is only its proof says."""
        engines = ", ".join(NAMES.get(engine, engine) for engine in self.usable)
        if self.device == "cpu":
            return "Healthy: everything runs on the CPU, as it was asked to."
        if not has_nvidia(self.machine.inventory):
            return "Healthy: there is no NVIDIA GPU here, so that models run on the CPU."
        if not self.machine.inventory.visible:  # a Jetson without NVML
            return "Healthy, as far as it can be told here: loading a model says where it runs."
        if not engines:
            return "Healthy: nothing is wrong with the GPU, and no engine is installed to use it."
        names = ", ".join(f"cuda:{gpu.cuda_index}" for gpu in self.machine.inventory.visible)
        return f"Healthy: nothing keeps {engines} from {names}; loading a model proves it."


def examine(
    machine: Machine,
    *,
    require: str | None = None,
    device: str | None = None,
    engines: Collection[str] | None = None,
    extra: Iterable[Finding] = (),
) -> Diagnosis:
    """Return what is wrong with `machine`.

    Args:
        machine: What is looked at.
        require: The GPU that must be there: `cuda`, `cuda:1`, a UUID. None leaves it to `device`.
        device: What the settings ask for, `auto` when None. With `cpu` nothing about GPUs counts;
            with `auto` they count where there is one of NVIDIA's.
        engines: Those that a backend would run on a GPU; None for all. Where one is installed that
            none of them uses, its build for the CPU is no fault: ONNX Runtime comes with others.
        extra: Findings that others made; they come after those that keep a GPU from being used.

    """
    asked = require or device or "auto"
    found = [*check_machine(machine, device=asked)]
    # Where there is no GPU to use, builds without CUDA are the right ones.
    is_cpu = asked == "cpu" or machine.inventory.host.system == "darwin"
    if is_cpu or not has_nvidia(machine.inventory):
        for engine in NAMES:
            found += check_package(machine, engine)
    else:
        gpu = None if asked in {"auto", "cuda"} else machine.inventory.find(asked)
        for engine in NAMES:
            is_used = engines is None or engine in engines
            found += (
                check_engine(machine, engine, gpu=gpu)
                if is_used
                else check_package(machine, engine)
            )
    unique = dict.fromkeys((*found, *extra))
    ordered = sorted(unique, key=lambda finding: _ORDER.index(finding.severity))
    return Diagnosis(machine=machine, device=asked, findings=ordered)


def _inventory(inventory: Inventory) -> dict[str, Any]:
    host, driver, nvml = inventory.host, inventory.driver, inventory.nvml
    return {
        "host": {
            "system": host.system,
            "machine": host.machine,
            "nvidia_pci": list(host.nvidia_pci),
            "kernel_driver": host.kernel_driver,
            "container": host.container,
            "device_nodes": list(host.device_nodes),
            "is_wsl": host.is_wsl,
            "is_tegra": host.is_tegra,
            "is_secure_boot": host.is_secure_boot,
            "visible_devices": host.visible_devices,
            "device_order": host.device_order,
        },
        "driver": driver and {"version": driver.version, "cuda": _dotted(driver.cuda)},
        "nvml": nvml and {"code": nvml.code, "text": nvml.text},
        "gpus": [_gpu(gpu) for gpu in inventory.gpus],
    }


def _gpu(gpu: Gpu) -> dict[str, Any]:
    return {
        "uuid": gpu.uuid,
        "name": gpu.name,
        "index": gpu.index,
        "device": None if gpu.cuda_index is None else f"cuda:{gpu.cuda_index}",
        "compute_capability": _dotted(gpu.compute_capability),
        "memory_total": gpu.memory_total,
        "memory_free": gpu.memory_free,
        "memory_used": gpu.memory_used,
        "utilization": gpu.utilization,
        "pci_bus": gpu.pci_bus,
        "parent": gpu.parent,
        "has_mig": gpu.has_mig,
        "compute_mode": gpu.compute_mode,
        "processes": None
        if gpu.processes is None
        else [{"pid": p.pid, "memory": p.memory, "name": p.name} for p in gpu.processes],
        "is_integrated": gpu.is_integrated,
        "lost": gpu.lost,
    }


def _installed(installed: Installed) -> dict[str, Any]:
    return {
        "engines": [_wheel(wheel) for wheel in installed.wheels],
        "libraries": [str(owner) for owner in installed.libraries],
        "system_libraries": list(installed.system_libraries),
        "index_settings": list(installed.index_settings),
    }


def _wheel(wheel: Wheel) -> dict[str, Any]:
    return {
        "engine": wheel.engine,
        "package": wheel.package,
        "version": wheel.version,
        "folder": None if wheel.folder is None else str(wheel.folder),
        "cuda": _dotted(wheel.cuda),
        "is_cpu_only": wheel.is_cpu_only,
        "evidence": wheel.evidence,
        "owners": [str(owner) for owner in wheel.owners],
    }


def _dotted(version: tuple[int, int] | None) -> str | None:
    return None if version is None else f"{version[0]}.{version[1]}"
