"""What the two vendors' client library would be: JSON and bytes over a websocket, on any loop.

Knows nothing of evakit. websockets does the protocol, anyio the connection.
"""

from __future__ import annotations

import json
from collections import deque

import anyio
from websockets import ClientProtocol, Frame, Opcode, State
from websockets.uri import parse_uri


class VendorError(Exception):
    """The service cannot be reached, said that it failed, or said nothing that makes sense."""


class Session:
    """A connection to one of the vendors."""

    def __init__(self, url: str, timeout: float = 10.0) -> None:
        self._uri, self._timeout = parse_uri(url), timeout

    async def open(self) -> None:
        """Connect.

        Raises:
            VendorError: the service cannot be reached, or refuses.

        """
        self._protocol = ClientProtocol(self._uri)
        self._events: deque[object] = deque()
        self._sending = anyio.Lock()
        try:
            with anyio.fail_after(self._timeout):
                self._stream = await anyio.connect_tcp(self._uri.host, self._uri.port)
        except OSError as error:
            raise VendorError(f"no connection: {error}") from error
        self._protocol.send_request(self._protocol.connect())
        try:
            await self._flush()
            await self._event()  # the answer to the handshake
        except BaseException:
            await anyio.aclose_forcefully(self._stream)
            raise

    async def close(self) -> None:
        """Say goodbye and hang up, even when the task was cancelled."""
        with anyio.move_on_after(1, shield=True):
            if self._protocol.state is State.OPEN:
                self._protocol.send_close(1000)
                await self._flush()
        await anyio.aclose_forcefully(self._stream)

    async def send(self, message: bytes | dict[str, object]) -> None:
        """Send audio or a message; once the service has hung up, only `receive` says so."""
        if self._protocol.state is not State.OPEN:
            return
        if isinstance(message, bytes):
            self._protocol.send_binary(message)
        else:
            self._protocol.send_text(json.dumps(message).encode())
        await self._flush()

    async def receive(self) -> dict[str, object]:
        """Return the next message.

        Raises:
            VendorError: there is none: the service failed, hung up, or is silent.

        """
        frame = await self._event()
        if not isinstance(frame, Frame) or frame.opcode is Opcode.CLOSE:
            raise VendorError("the service hung up")
        try:
            message = json.loads(frame.data)
        except ValueError as error:
            raise VendorError(f"an answer that is not JSON: {error}") from error
        if not isinstance(message, dict) or "type" not in message:
            raise VendorError(f"an answer that makes no sense: {message!r:.40}")
        if message["type"] == "Error":
            raise VendorError(message["description"])
        return message

    async def _event(self) -> object:
        try:
            with anyio.fail_after(self._timeout):
                while not self._events:
                    self._protocol.receive_data(await self._stream.receive())
                    await self._flush()  # the protocol answers pings and closing by itself
                    self._events += self._protocol.events_received()
        except TimeoutError as error:
            raise VendorError(f"no answer within {self._timeout:g} s") from error
        except (anyio.EndOfStream, anyio.BrokenResourceError) as error:
            raise VendorError("the service hung up") from error
        return self._events.popleft()

    async def _flush(self) -> None:
        async with self._sending:
            try:
                for data in self._protocol.data_to_send():
                    if data:  # an empty one is the end, which `close` brings about
                        await self._stream.send(data)
            except anyio.BrokenResourceError:
                return  # whoever receives is told
