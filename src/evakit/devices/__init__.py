"""Where models run: what is asked for, what this machine has, and what is proven after loading.

In the order of work: `request` says what a backend is to have, `reading` and `packages` look at the
machine and the engines, `checks` say what is wrong with them, `manager` places a model, `evidence`
judges what was seen. Names that need more than attrs are imported when they are first used.
What may not live here: importing torch, onnxruntime or any other engine.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from .device import Device, is_device
from .evidence import Evidence, Proof, Strength, Verdict, WarmUp, judge
from .finding import Finding, Remedy, Severity
from .request import Binding, DeviceRequest, Policy, bind

if TYPE_CHECKING:
    from .installed import Installed, Owner, Wheel
    from .inventory import Driver, Gpu, GpuProcess, Host, Inventory, NvmlFailure
    from .lease import Lease, LeaseState
    from .machine import Machine
    from .manager import DeviceManager, default_manager
    from .report import PlacementReport

# Where each of the other names lives.
_HOMES = {
    "DeviceManager": "manager",
    "Driver": "inventory",
    "Gpu": "inventory",
    "GpuProcess": "inventory",
    "Host": "inventory",
    "Installed": "installed",
    "Inventory": "inventory",
    "Lease": "lease",
    "LeaseState": "lease",
    "Machine": "machine",
    "NvmlFailure": "inventory",
    "Owner": "installed",
    "PlacementReport": "report",
    "Wheel": "installed",
    "default_manager": "manager",
}

__all__ = [
    "Binding",
    "Device",
    "DeviceManager",
    "DeviceRequest",
    "Driver",
    "Evidence",
    "Finding",
    "Gpu",
    "GpuProcess",
    "Host",
    "Installed",
    "Inventory",
    "Lease",
    "LeaseState",
    "Machine",
    "NvmlFailure",
    "Owner",
    "PlacementReport",
    "Policy",
    "Proof",
    "Remedy",
    "Severity",
    "Strength",
    "Verdict",
    "WarmUp",
    "Wheel",
    "bind",
    "default_manager",
    "is_device",
    "judge",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'evakit.devices' has no attribute {name!r}")
    value = getattr(importlib.import_module(f".{_HOMES[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
