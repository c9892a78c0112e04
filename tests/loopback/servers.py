"""Two loopback services on real sockets, which behave like vendors': their faults included.

Each runs in threads of its own, so that it is independent of the event loop under test.
"""

from __future__ import annotations

import base64
import json
import threading
from collections import deque
from enum import Enum

import numpy as np
from websockets.exceptions import ConnectionClosed
from websockets.sync.server import serve

RATE = 16_000  # hertz, of both services
FRAME = 1600  # samples that the STT hears at once; one word, or silence

# What the STT takes a frame of this peak, in tenths, for: at first, and once it knows better.
GUESSES = {1: "one", 2: "to", 3: "tree", 4: "for", 5: "five"}
WORDS = {1: "one", 2: "two", 3: "three", 4: "four", 5: "five"}

MS_A_LETTER = 50  # how long the TTS speaks each character
LETTERS_A_CHUNK = 12  # how many it speaks at once, wherever words end


class Fault(Enum):
    """What goes wrong with one connection, after the first message was sent."""

    HANGS_UP = "closes the connection"
    FAILS = "says that it failed"
    GARBAGE = "sends what is not JSON"
    NONSENSE = "sends JSON that is no message"
    STALLS = "sends nothing more until `release` is set"


class Connection:
    """What one client did."""

    def __init__(self) -> None:
        self.sent = 0
        """Messages sent to it."""
        self.received: list[str] = []
        """Texts, or the names of messages, received from it."""
        self.closed = threading.Event()


class Service:
    """A websocket server; a context manager."""

    def __init__(self) -> None:
        self.faults: deque[Fault | None] = deque()
        """For connections to come: what goes wrong with each."""
        self.connections: list[Connection] = []
        self.release = threading.Event()
        self._handlers: list[threading.Thread] = []

    def __enter__(self):
        self._server = serve(self._serve, "127.0.0.1", 0, compression=None)
        host, port = self._server.socket.getsockname()
        self.url = f"ws://{host}:{port}"
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()
        return self

    def __exit__(self, *_):
        self.release.set()
        self._server.shutdown()
        self._thread.join()
        for thread in self._handlers:  # each closes its socket at its end
            thread.join()

    def _serve(self, websocket) -> None:
        self._handlers.append(threading.current_thread())
        client = Connection()
        self.connections.append(client)
        fault = self.faults.popleft() if self.faults else None

        def send(message) -> None:
            if client.sent == 1 and fault is not None:
                self._go_wrong(fault, websocket)
            websocket.send(json.dumps(message))
            client.sent += 1

        try:
            self.talk(websocket, client, send)
        except ConnectionClosed:
            pass  # the client is gone: nothing is left to do for it
        finally:
            websocket.close()
            client.closed.set()

    def _go_wrong(self, fault: Fault, websocket) -> None:
        match fault:
            case Fault.HANGS_UP:
                websocket.close()
            case Fault.FAILS:
                websocket.send(json.dumps({"type": "Error", "description": "quota exceeded"}))
                websocket.close()
            case Fault.GARBAGE:
                websocket.send(b"\x00\xff garbage")
            case Fault.NONSENSE:
                websocket.send('["no", "message"]')
            case Fault.STALLS:
                while not self.release.wait(0.01):
                    if websocket.close_code is not None:
                        return

    def talk(self, websocket, client: Connection, send) -> None:
        raise AssertionError("each service has its own")


class STTService(Service):
    """Hears a word in each frame, guesses it, and corrects the guess once it heard the next."""

    def talk(self, websocket, client, send):
        heard = bytearray()
        position = 0
        last = None
        for message in websocket:
            if isinstance(message, str):
                client.received.append(json.loads(message)["type"])
                break
            heard += message
            while len(heard) - 2 * position >= 2 * FRAME:
                last = self._hear(heard, position, last, send)
                position += FRAME
        if len(heard) > 2 * position:
            last = self._hear(heard, position, last, send)
        if last:
            self._say(send, WORDS, *last)
        send({"type": "Metadata"})
        websocket.close()

    def _hear(self, heard, position, last, send):
        frame = np.frombuffer(heard, "<i2")[position : position + FRAME]
        level = round(float(np.abs(frame.astype(float)).max()) / 3276.8)
        if last:
            self._say(send, WORDS, *last)
        if level not in WORDS:
            if last:
                send({"type": "UtteranceEnd"})
            return None
        self._say(send, GUESSES, level, position, len(frame))
        return level, position, len(frame)

    def _say(self, send, words, level, start, length):
        word, span = words[level], (start, start + length)
        send({"type": "Results", "text": word, "span": span, "words": [(word, *span)]})


class TTSService(Service):
    """Speaks a tone: a chunk for so many characters, cut wherever that falls."""

    def talk(self, websocket, client, send):
        text = ""
        for message in websocket:
            piece = json.loads(message)["text"]
            if not piece:
                break
            client.received.append(piece)
            text += piece
            while len(text) >= LETTERS_A_CHUNK:
                self._speak(text[:LETTERS_A_CHUNK], send)
                text = text[LETTERS_A_CHUNK:]
        if text.strip():
            self._speak(text, send)
        send({"type": "Final"})
        websocket.close()

    def _speak(self, text, send):
        at = [i * MS_A_LETTER for i in range(len(text) + 1)]
        count = at[-1] * RATE // 1000
        tone = (3000 * np.sin(2 * np.pi * 220 * np.arange(count) / RATE)).astype("<i2")
        send(
            {
                "type": "Audio",
                "audio": base64.b64encode(tone.tobytes()).decode(),
                "alignment": list(zip(text, at, at[1:], strict=False)),
            }
        )
