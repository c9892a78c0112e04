"""What the watched process does: native controls, and between them a local conversation.

Run with the port to connect to and the question's file. At each step it prints a line and
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

_libc = ctypes.CDLL(None, use_errno=True)


def step(name, **facts):
    sys.stdout.write(json.dumps({"step": name, **facts}) + "\n")
    sys.stdout.flush()
    sys.stdin.readline()


def connect_natively(port):
    """Connect without Python's socket module, as an engine's own code would."""
    descriptor = _libc.socket(socket.AF_INET, socket.SOCK_STREAM, 0)
    address = struct.pack("=HHI8x", socket.AF_INET, socket.htons(port), socket.htonl(0x7F000001))
    if _libc.connect(descriptor, address, len(address)):
        raise OSError(ctypes.get_errno(), "the control connection failed")
    os.close(descriptor)


def listen_natively():
    descriptor = _libc.socket(socket.AF_INET, socket.SOCK_STREAM, 0)
    if _libc.listen(descriptor, 1):
        raise OSError(ctypes.get_errno(), "the control listener failed")
    return descriptor


def main(port, question):
    try:
        listener = syscalls.report_calls()
    except OSError as error:  # a container may forbid it
        step("refused", reason=str(error))
        return
    step("watched", listener=listener)
    connect_natively(port)
    listener = listen_natively()
    step("controls before")
    os.close(listener)

    import evakit  # watched from its import on

    with evakit.Conversation(stt="whisper:tiny.en") as conversation:
        loaded = {k: {"device": v.device} for k, v in conversation.backends.items()}
        step("loaded", backends=loaded)
        for _ in range(2):
            reply = conversation.respond(question)
            step("answered", heard=reply.heard, text=reply.text, seconds=reply.audio.duration)
    step("unloaded")

    connect_natively(port)
    step("controls after")


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
