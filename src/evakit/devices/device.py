"""Device: the name of a place where a model can run.

What may not live here: finding out which devices this machine has.
"""

from __future__ import annotations

import re
from typing import Final, Self

from attrs import frozen

from ..errors import ConfigurationError

__all__ = ["Device", "is_device"]

# The device part of a backend's name, design.md section 4.
_DEVICE = re.compile(r"auto|cpu|cuda(:[0-9]{1,9})?|GPU-[0-9A-Za-z-]+|MIG-[0-9A-Za-z-]+")


def is_device(text: str) -> bool:
    """Say whether `text` reads like a device that can be asked for."""
    return _DEVICE.fullmatch(text) is not None


@frozen
class Device:
    """A device by name: `cpu`, `cuda:0`, `GPU-<uuid>`, `MIG-<uuid>`, or `remote`.

    `cuda:0` is the first GPU that this process may see, in the order of the PCI bus.
    """

    name: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """Make a device from what a user wrote; `cuda` is `cuda:0`.

        Raises:
            ConfigurationError: `text` does not read like a device, or is `auto`.

        """
        if not is_device(text) or text == "auto":
            raise ConfigurationError(
                f"{text!r} is not a device; write 'cpu', 'cuda', 'cuda:0' or a GPU's UUID."
            )
        if text.startswith("cuda"):
            return cls(f"cuda:{int(text.removeprefix('cuda').removeprefix(':') or 0)}")
        return cls(text)

    @property
    def is_gpu(self) -> bool:
        """Whether the name means a GPU."""
        return self.name.startswith(("cuda", "GPU-", "MIG-"))

    def __str__(self) -> str:
        return self.name


CPU: Final = Device("cpu")
REMOTE: Final = Device("remote")
CUDA: Final = Device("cuda")
"""Any GPU: what a request may say, and no model is ever on."""
