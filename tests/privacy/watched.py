"""What the watched process does: native controls, and between them a local conversation.

Run with the port to connect to and the question's file. Before each step it prints a line and
waits for one, so that whoever watches can look at it from outside.
"""

from __future__ import annotations

import ctypes
import json
import os
import socket
import struct
import sys
from pathlib import Path

import syscalls


def step(name: str, **facts: object) -> None:
    print(json.dumps({"step": name, **facts}), flush=True)
    sys.stdin.readline()


def native_connection(port: int) -> None:
    """Connect without Python's socket module, as an engine's own code would."""
    libc = ctypes.CDLL(None, use_errno=True)
    descriptor = libc.socket(socket.AF_INET, socket.SOCK_STREAM, 0)
    address = struct.pack("=HHI8x", socket.AF_INET, socket.htons(port), socket.htonl(0x7F000001))
    if libc.connect(descriptor, address, len(address)):
        raise OSError(ctypes.get_errno(), "the control connection failed")
    os.close(descriptor)


def native_listener() -> int:
    libc = ctypes.CDLL(None, use_errno=True)
    descriptor = libc.socket(socket.AF_INET, socket.SOCK_STREAM, 0)
    if libc.listen(descriptor, 1):
        raise OSError(ctypes.get_errno(), "the control listener failed")
    return descriptor


def main(port: int, question: Path) -> None:
    step("watched", listener=syscalls.report_calls())
    native_connection(port)
    listener = native_listener()
    step("controls before")
    os.close(listener)

    import evakit

    with evakit.Conversation(stt="whisper:tiny.en") as conversation:
        step("loaded", backends={k: str(v.device) for k, v in conversation.backends.items()})
        for _ in range(2):
            reply = conversation.respond(question)
            step("answered", heard=reply.heard, text=reply.text, seconds=reply.audio.duration)
    step("unloaded")

    native_connection(port)
    step("controls after")


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
