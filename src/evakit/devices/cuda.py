"""What this process does with CUDA, asked of the driver that its engines have loaded themselves.

Nothing here loads the driver, initialises it or makes a context: it would find what it made.
Contexts are the primary ones, which the CUDA runtime uses, and with it every engine that evakit
knows. It holds in containers, under WSL and on MIG instances, where NVML cannot tell whose process
is whose. What may not live here: NVML, and what an observation means for a model.
"""

from __future__ import annotations

import ctypes
import os
import sys
from pathlib import Path
from typing import Final
from uuid import UUID

__all__ = [
    "active_contexts",
    "devices",
    "is_initialised",
    "loaded_libcuda",
    "mapped_libraries",
    "open_device_files",
]

# https://docs.nvidia.com/cuda/cuda-driver-api/group__CUDA__TYPES.html
_SUCCESS: Final = 0
_NOT_INITIALIZED: Final = 3
_NO_DEVICE: Final = 100
_NOT_FOUND: Final = 500

_LIBRARIES: Final = (
    "libcuda.so",
    "libcublas",
    "libcudnn",
    "libonnxruntime_providers_cuda",
    "libtorch_cuda",
)


class _CudaError(Exception):
    """The driver answered with an error; its argument is the code."""


def loaded_libcuda() -> ctypes.CDLL | None:
    """Return the CUDA driver's library if this process has loaded it; never load it."""
    if sys.platform == "win32":
        find = ctypes.WinDLL("kernel32").GetModuleHandleW
        find.argtypes, find.restype = [ctypes.c_wchar_p], ctypes.c_void_p
        handle = find("nvcuda.dll")
        return ctypes.CDLL("nvcuda.dll", handle=handle) if handle else None
    if sys.platform != "linux":
        return None
    try:
        return ctypes.CDLL("libcuda.so.1", mode=os.RTLD_NOLOAD)
    except OSError:
        return None


def is_initialised() -> bool | None:
    """Say whether CUDA has been initialised in this process, which fixes the devices' order.

    None where it cannot be told.
    """
    library = loaded_libcuda()
    if library is None:
        return False
    try:
        _check(library.cuDeviceGetCount(ctypes.byref(ctypes.c_int())))
    except _CudaError as error:
        return {_NOT_INITIALIZED: False, _NO_DEVICE: True}.get(error.args[0])
    return True


def devices() -> dict[int, str] | None:
    """Return the UUID of each device by its CUDA ordinal, the N of `cuda:N`.

    None while CUDA is not initialised in this process, and where it cannot be told.
    """
    library = loaded_libcuda()
    try:
        return None if library is None else _devices(library)
    except _CudaError as error:
        return {} if error.args == (_NO_DEVICE,) else None


def active_contexts() -> frozenset[str] | None:
    """Return the UUIDs of the devices on which this process has an active primary context.

    They are written as NVML does, `GPU-...` and `MIG-...`. Without one, nothing of this process is
    on a GPU: so it is while the driver is not loaded, not initialised, or has no device. None where
    it cannot be told. Takes microseconds.
    """
    library = loaded_libcuda()
    if library is None:
        return frozenset()
    try:
        uuids = _devices(library)
        return frozenset(uuid for n, uuid in uuids.items() if _has_context(library, n))
    except _CudaError as error:
        return frozenset() if error.args[0] in {_NOT_INITIALIZED, _NO_DEVICE} else None


def open_device_files(root: Path = Path("/")) -> tuple[str, ...]:
    """Return which of `/dev/nvidia*` and `/dev/dxg` this process has open; none without `/proc`.

    A process that has none of them open has nothing on a GPU; a Jetson has other files.
    """
    folder = root / "proc/self/fd"
    try:
        targets = {_target(folder / name) for name in os.listdir(folder)}  # noqa: PTH208
    except OSError:
        return ()
    return tuple(sorted(t for t in targets if t.startswith("/dev/nvidia") or t == "/dev/dxg"))


def mapped_libraries(root: Path = Path("/")) -> tuple[str, ...]:
    """Return the paths of the CUDA libraries, and of the engines for it, that have been loaded.

    Two of one name are two releases in one process. It takes about a millisecond; none without
    `/proc`.
    """
    try:
        maps = (root / "proc/self/maps").read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        return ()
    # man 5 proc: address, permissions, offset, device, inode, and the path if there is one.
    paths = {fields[5] for line in maps.splitlines() if len(fields := line.split(None, 5)) == 6}  # noqa: PLR2004
    return tuple(sorted(path for path in paths if path.rpartition("/")[2].startswith(_LIBRARIES)))


def _target(link: Path) -> str:
    try:
        return os.readlink(link)  # noqa: PTH115 (half the time of Path.readlink)
    except OSError:  # it was closed in the meantime, as the one of the listing itself is
        return ""


def _devices(library: ctypes.CDLL) -> dict[int, str]:
    count = ctypes.c_int()
    _check(library.cuDeviceGetCount(ctypes.byref(count)))
    return {ordinal: _uuid(library, ordinal) for ordinal in range(count.value)}


def _handle(library: ctypes.CDLL, ordinal: int) -> ctypes.c_int:
    device = ctypes.c_int()
    _check(library.cuDeviceGet(ctypes.byref(device), ctypes.c_int(ordinal)))
    return device


def _uuid(library: ctypes.CDLL, ordinal: int) -> str:
    """Return the device's UUID as NVML writes it.

    The newer call tells a MIG instance's own UUID, the older one that of its GPU; a driver before
    CUDA 11.4 has the older one only, and a later one may drop it:
    https://docs.nvidia.com/cuda/cuda-driver-api/group__CUDA__DEVICE.html
    """
    device = _handle(library, ordinal)
    told = []
    for function in ("cuDeviceGetUuid_v2", "cuDeviceGetUuid"):
        if hasattr(library, function):
            octets = ctypes.create_string_buffer(16)
            _check(getattr(library, function)(octets, device))
            told.append(octets.raw)
    if not told:
        raise _CudaError(_NOT_FOUND)
    name = ctypes.create_string_buffer(256)
    _check(library.cuDeviceGetName(name, ctypes.c_int(len(name)), device))
    is_instance = len(set(told)) > 1 or b" MIG " in name.value  # "NVIDIA A100 MIG 1g.5gb"
    return f"{'MIG' if is_instance else 'GPU'}-{UUID(bytes=told[0])}"


def _has_context(library: ctypes.CDLL, ordinal: int) -> bool:
    flags, active = ctypes.c_uint(), ctypes.c_int()
    device = _handle(library, ordinal)
    _check(library.cuDevicePrimaryCtxGetState(device, ctypes.byref(flags), ctypes.byref(active)))
    return active.value != 0


def _check(code: int) -> None:
    if code != _SUCCESS:
        raise _CudaError(code)
