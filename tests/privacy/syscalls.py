"""Watches from outside what a process connects, binds, listens and sends to.

The process asks the kernel (seccomp, Linux >= 5.6) to report some calls to whoever holds a
listener, and cannot take it back, whatever native code it loads. Another process takes the
listener, looks at each call in the caller's memory, and lets it go on. No root, no compiler.
What may not live here: anything of evakit.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import platform
import select
import socket
import struct
import threading
from typing import NamedTuple

# Per machine: the kernel's name of it (linux/audit.h), and the numbers of its system calls.
_MACHINES = {
    "x86_64": (
        0xC000003E,
        317,
        {
            42: "connect",
            49: "bind",
            50: "listen",
            44: "sendto",
            46: "sendmsg",
            307: "sendmmsg",
            425: "io_uring_setup",
        },
    ),
    "aarch64": (
        0xC00000B7,
        277,
        {
            203: "connect",
            200: "bind",
            201: "listen",
            206: "sendto",
            211: "sendmsg",
            269: "sendmmsg",
            425: "io_uring_setup",
        },
    ),
}
_PIDFD_GETFD = 438  # the same on all machines

# linux/seccomp.h, linux/filter.h, linux/prctl.h
_SET_MODE_FILTER, _NEW_LISTENER, _NO_NEW_PRIVS = 1, 8, 38
_ALLOW, _USER_NOTIF = 0x7FFF0000, 0x7FC00000
_LOAD_WORD, _JUMP_IF_EQUAL, _RETURN = 0x20, 0x15, 0x06
_RECEIVE, _SEND, _CONTINUE = 0xC0502100, 0xC0182101, 1
_NOTIFICATION = struct.Struct("=QIIiIQ6Q")  # id, thread, flags, number, machine, address, arguments
_ANSWER = struct.Struct("=QqiI")

_libc = ctypes.CDLL(None, use_errno=True)


class Call(NamedTuple):
    """A system call that was seen."""

    name: str
    family: int | None
    """Of the address or the socket; None where the call names none."""
    address: str

    @property
    def is_internet(self) -> bool:
        """Whether it may leave the machine, or be reached from another one."""
        return self.family in (socket.AF_INET, socket.AF_INET6) or self.name == "io_uring_setup"


class _Instruction(ctypes.Structure):
    _fields_ = (
        ("code", ctypes.c_ushort),
        ("then", ctypes.c_ubyte),
        ("otherwise", ctypes.c_ubyte),
        ("k", ctypes.c_uint),
    )


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.POINTER(_Instruction)))


def why_not() -> str | None:
    """Say why this machine cannot be watched, or None when it can."""
    if platform.system() != "Linux":
        return f"{platform.system()} has no seccomp"
    if platform.machine() not in _MACHINES:
        return f"the system calls of {platform.machine()} are not listed here"
    return None


def report_calls() -> int:
    """Have the calls of this process reported from now on; return the listener's descriptor.

    Whoever made this process takes it with `Watch`; until then the calls wait.
    """
    machine, seccomp, calls = _MACHINES[platform.machine()]
    steps = [
        (_LOAD_WORD, 0, 0, 4),
        (_JUMP_IF_EQUAL, 0, len(calls) + 2, machine),  # another machine's calls are reported too
        (_LOAD_WORD, 0, 0, 0),
        *((_JUMP_IF_EQUAL, len(calls) - i, 0, number) for i, number in enumerate(calls)),
        (_RETURN, 0, 0, _ALLOW),
        (_RETURN, 0, 0, _USER_NOTIF),
    ]
    instructions = (_Instruction * len(steps))(*(_Instruction(*step) for step in steps))
    program = _Program(len(steps), instructions)
    _libc.prctl(_NO_NEW_PRIVS, 1, 0, 0, 0)
    listener = _libc.syscall(seccomp, _SET_MODE_FILTER, _NEW_LISTENER, ctypes.byref(program))
    if listener < 0:
        raise OSError(ctypes.get_errno(), "seccomp refuses to report calls")
    return listener


class Watch:
    """Takes the calls of the process `pid`, and of its children, until it is closed."""

    def __init__(self, pid: int, listener: int) -> None:
        self.calls: list[Call] = []
        self._listener = _descriptor_of(pid, listener)
        self._names = _MACHINES[platform.machine()][2]
        self._wake, self._woken = os.pipe()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def close(self) -> None:
        """Stop; the process must have ended."""
        os.close(self._woken)
        self._thread.join()
        os.close(self._wake)
        os.close(self._listener)

    @property
    def internet(self) -> list[Call]:
        """The calls that may leave the machine, or let others in."""
        return [call for call in self.calls if call.is_internet]

    def _run(self) -> None:
        poll = select.poll()
        poll.register(self._listener, select.POLLIN)
        poll.register(self._wake, select.POLLIN)
        while True:
            ready = dict(poll.poll())
            if ready.get(self._listener, 0) & select.POLLIN:
                self._take()
            elif ready:
                return  # the process has ended, or the watch is closed

    def _take(self) -> None:
        notification = bytearray(_NOTIFICATION.size)
        try:
            fcntl.ioctl(self._listener, _RECEIVE, notification)
            ident, thread, _, number, _, _, *arguments = _NOTIFICATION.unpack(notification)
            self.calls.append(self._look(thread, self._names.get(number, str(number)), arguments))
            fcntl.ioctl(self._listener, _SEND, bytearray(_ANSWER.pack(ident, 0, 0, _CONTINUE)))
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ESRCH):  # the caller was killed meanwhile
                raise

    def _look(self, thread: int, name: str, arguments: list[int]) -> Call:
        match name:
            case "connect" | "bind":
                return Call(name, *_address(thread, arguments[1], arguments[2]))
            case "sendto":
                return Call(name, *_address(thread, arguments[4], arguments[5]))
            case "sendmsg" | "sendmmsg":  # a message begins with its address and that one's length
                place, length = struct.unpack("=QI", _memory(thread, arguments[1], 12))
                return Call(name, *_address(thread, place, length))
            case "listen":
                with socket.socket(fileno=_descriptor_of(_process_of(thread), arguments[0])) as it:
                    return Call(name, it.family, str(it.getsockname()))
        return Call(name, None, "")


def _address(thread: int, place: int, length: int) -> tuple[int | None, str]:
    if not place or length < 2:
        return None, ""
    data = _memory(thread, place, min(length, 128))
    family = int.from_bytes(data[:2], "little")
    if family == socket.AF_INET:
        return family, f"{socket.inet_ntoa(data[4:8])}:{int.from_bytes(data[2:4], 'big')}"
    if family == socket.AF_INET6:
        host = socket.inet_ntop(socket.AF_INET6, data[8:24])
        return family, f"[{host}]:{int.from_bytes(data[2:4], 'big')}"
    return family, repr(data[2:].rstrip(b"\0"))


def _memory(thread: int, place: int, length: int) -> bytes:
    with open(f"/proc/{thread}/mem", "rb", buffering=0) as memory:
        memory.seek(place)
        return memory.read(length)


def _process_of(thread: int) -> int:
    with open(f"/proc/{thread}/status", encoding="ascii", errors="replace") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("Tgid:"))


def _descriptor_of(pid: int, descriptor: int) -> int:
    """Return a copy of another process's descriptor."""
    process = os.pidfd_open(pid)
    try:
        copy = _libc.syscall(_PIDFD_GETFD, process, descriptor, 0)
    finally:
        os.close(process)
    if copy < 0:
        raise OSError(ctypes.get_errno(), f"descriptor {descriptor} of {pid} cannot be had")
    return copy
