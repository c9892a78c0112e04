"""Where models run: Device, Placement, and the choice between what was asked and what is there.

Only the CPU can be asked for so far; a GPU is refused rather than silently replaced.
What may not live here: importing torch, onnxruntime or any other engine.
"""

from .device import Device, is_device
from .placement import Placement, choose_device, verify_placement

__all__ = ["Device", "Placement", "choose_device", "is_device", "verify_placement"]
