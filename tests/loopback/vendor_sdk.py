"""What the two vendors' client library would be: JSON and bytes over a websocket, on any loop.

Knows nothing of evakit. `websockets` has a client for asyncio and one for trio.
"""

from __future__ import annotations

import json
from importlib import import_module

import anyio
import sniffio
from websockets.exceptions import ConnectionClosed, WebSocketException


class VendorError(Exception):
    """The service cannot be reached, said that it failed, or said nothing that makes sense."""


class Session:
    """A connection to one of the vendors."""

    def __init__(self, url: str, timeout: float = 10.0) -> None:
        self._url, self._timeout = url, timeout

    async def open(self) -> None:
        """Connect.

        Raises:
            VendorError: the service cannot be reached.

        """
        library = import_module(f"websockets.{sniffio.current_async_library()}.client")
        self._connection = library.connect(
            self._url, open_timeout=self._timeout, close_timeout=1, proxy=None
        )
        try:
            self._socket = await self._connection.__aenter__()
        except (OSError, WebSocketException) as error:
            raise VendorError(f"no connection: {error}") from error

    async def close(self) -> None:
        """Say goodbye and hang up, even when the task was cancelled."""
        with anyio.CancelScope(shield=True):
            await self._connection.__aexit__(None, None, None)

    async def send(self, message: bytes | dict[str, object]) -> None:
        """Send audio, or a message; once the service has hung up, `receive` says so."""
        try:
            await self._socket.send(message if isinstance(message, bytes) else json.dumps(message))
        except ConnectionClosed:
            return

    async def receive(self) -> dict[str, object]:
        """Return the next message.

        Raises:
            VendorError: there is none: the service failed, hung up, or is silent.

        """
        try:
            with anyio.fail_after(self._timeout):
                message = json.loads(await self._socket.recv())
        except (TimeoutError, WebSocketException, ValueError) as error:
            raise VendorError(f"no answer: {error!r}") from error
        if not isinstance(message, dict) or "type" not in message:
            raise VendorError(f"an answer that makes no sense: {message!r:.40}")
        if message["type"] == "Error":
            raise VendorError(message["description"])
        return message
