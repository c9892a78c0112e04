"""Engine: a loaded model in llama.cpp's server, in this process.

The only module that imports xllamacpp; it is imported itself when a model loads.
What may not live here: conversations, sampling, which device it is to be, and evakit's errors.
"""

from __future__ import annotations

import ctypes
import json
import os
import secrets
import threading
import weakref
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager, suppress
from functools import lru_cache
from importlib import import_module
from itertools import takewhile
from pathlib import Path
from typing import Any, Final

from attrs import frozen

from evakit.abc import leak

from ._build import EngineBuild
from ._captured_log import captured_log
from ._listener import Listener, private_listener
from ._log_lines import LogLine
from ._wire import EngineClosedError, EngineError

__all__ = ["Engine", "EngineOptions", "LoadFailedError", "installed_build"]

CHUNK: Final = 64
"""Tokens of a prompt that are read between two looks at whether the reply is still wanted.

Reading 1474 tokens took 6.2 s in chunks of 64 and 5.6 s in chunks of 512."""
# How much the engine writes to the process's descriptor 2 (common/log.h).
_QUIET, _ERRORS, _BUFFERS = -1, 1, 4
_LAST_WORDS: Final = "exiting due to model loading error"  # of a load that failed
_ALL_LAYERS: Final = 999  # -1 means "use default", which is not always all of them
_CONNECTIONS: Final = 2  # threads for counting tokens; replies do not go through the socket
_WAIT_TO_CLOSE: Final = 5.0  # seconds for replies to notice that their model goes
_REMEMBERED: Final = 1024  # messages whose tokens need not be counted again

OnChunk = Callable[[dict[str, Any]], bool]


class LoadFailedError(Exception):
    """The engine could not load the model."""

    def __init__(self, message: str, lines: Sequence[LogLine] = ()) -> None:
        super().__init__(message)
        self.lines = tuple(lines)
        """Why, where the log was kept; the message itself never says."""


@frozen(kw_only=True)
class EngineOptions:
    """What a model is loaded with."""

    path: Path
    context: int
    """Tokens for each of `parallel` conversations."""
    parallel: int
    threads: int
    cache_mib: int
    """Memory for prefixes of conversations that are not being worked on."""
    gpu: int | None = None
    """Which of the GPUs that the engine would use it uses; None for none of them."""
    keeps_log: bool = False
    """Whether to keep what the engine says while it loads: where there is a GPU, nothing else says
    where the model is. No two loads may go on at once then, in this process."""


def installed_build() -> EngineBuild:
    """Return what the xllamacpp that is installed computes on.

    Where there are GPUs, this process has a context on each of them afterwards; llama.cpp makes one
    to ask for its memory, when it loads too.

    Raises:
        ImportError: xllamacpp is not installed, or lacks a library.

    """
    vendor = import_module("xllamacpp")
    return EngineBuild.read(vendor.get_device_info(), vendor.get_system_info())


class Engine:
    """A loaded model. Thread-safe."""

    def __init__(self, options: EngineOptions, listener: Listener | None = None) -> None:
        """Load the model; blocks.

        Raises:
            ImportError: xllamacpp is not installed.
            LoadFailedError: the engine could not load the file.

        """
        vendor = import_module("xllamacpp")
        _first_process()
        self._listener = listener or private_listener()
        self.log: tuple[LogLine, ...] = ()
        """What the engine said as it loaded, where that was kept."""
        try:
            server, self.log = _load(vendor, _parameters(vendor, options, self._listener))
        except BaseException:
            self._listener.close()
            raise
        self._address: str = server.listening_address
        self._held = [server]
        del server
        # Runs at the end of the interpreter too.
        self._free = weakref.finalize(self, _free, self._held, self._listener, os.getpid())
        self._changed = threading.Condition()
        self._active = 0
        self._closing = False
        self._tokens = lru_cache(_REMEMBERED)(self._tokenize)
        try:
            about = self._ask("/v1/models")["data"][0]["meta"]
        except BaseException:
            self.close()
            raise
        self.context: int = about["n_ctx"]
        """Tokens that a prompt and its reply may have together."""
        self.trained_context: int = about["n_ctx_train"]
        """Tokens that the model was trained to read."""

    @property
    def is_open(self) -> bool:
        """Whether it takes work."""
        return not self._closing

    def stream(self, body: dict[str, Any], on_chunk: OnChunk) -> None:
        """Generate; call `on_chunk`, in this thread, with each chunk until it returns True.

        Raises what `on_chunk` raises, and:

        Raises:
            EngineError: the engine refused the request or failed at it.
            EngineClosedError: the model was unloaded, before or meanwhile.

        """
        failures: list[BaseException] = []

        def callback(text: str) -> bool:
            if failures:
                return True
            try:
                if self._closing:
                    raise EngineClosedError
                chunk = json.loads(text)
                if "error" in chunk:
                    about = chunk["error"]
                    raise EngineError(about["message"], kind=about["type"])
                return on_chunk(chunk)
            except BaseException as failure:  # noqa: BLE001 (the engine would swallow it; raised below)
                failures.append(failure)
                return True

        with self._in_use():
            try:
                self._held[0].handle_chat_completions(json.dumps(body), callback)
            except (ValueError, RuntimeError) as error:
                raise EngineError(str(error)) from error
        if failures:
            raise failures[0]

    def count(self, messages: Sequence[dict[str, str]]) -> int:
        """Return the tokens of a whole prompt, as the model's template writes it.

        Raises:
            EngineError: the template takes no such messages.
            EngineClosedError: the model was unloaded.

        """
        answer = self._ask("/chat/completions/input_tokens", {"messages": list(messages)})
        return int(answer["input_tokens"])

    def tokens(self, text: str) -> int:
        """Return the tokens of a text by itself; remembered.

        Raises:
            EngineClosedError: the model was unloaded.

        """
        return self._tokens(text)

    def _tokenize(self, text: str) -> int:
        return len(self._ask("/tokenize", {"content": text, "parse_special": True})["tokens"])

    def metrics(self) -> dict[str, float]:
        """Return the engine's counters."""
        with self._in_use():
            text: str = self._held[0].handle_metrics()
        lines = (line.rpartition(" ") for line in text.splitlines() if not line.startswith("#"))
        return {name.removeprefix("llamacpp:"): float(value) for name, _, value in lines if name}

    def close(self) -> None:
        """Stop what is being generated and free the model; calling it twice is fine."""
        with self._changed:
            self._closing = True
            self._changed.wait_for(lambda: self._active == 0, timeout=_WAIT_TO_CLOSE)
            if self._active:  # whoever leaves last frees it
                return
        self._free()

    @contextmanager
    def _in_use(self) -> Generator[None]:
        with self._changed:
            if self._closing:
                raise EngineClosedError
            self._active += 1
        try:
            yield
        finally:
            with self._changed:
                self._active -= 1
                last = self._closing and not self._active
                self._changed.notify_all()
            if last:
                self._free()

    def _ask(self, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """Send a request through the socket: there is no other way to count tokens."""
        headers = {"Content-Type": "application/json"}
        if self._listener.key:
            headers["Authorization"] = f"Bearer {self._listener.key}"
        with self._in_use():
            connection = self._listener.connection(self._address)
            try:
                content = None if body is None else json.dumps(body)
                connection.request("GET" if body is None else "POST", path, content, headers)
                answer: dict[str, Any] = json.loads(connection.getresponse().read())
            except OSError as error:
                raise EngineError(f"its socket does not answer: {error}") from error
            finally:
                connection.close()
        if "error" in answer:
            raise EngineError(answer["error"]["message"], kind=answer["error"]["type"])
        return answer


def _parameters(vendor: Any, options: EngineOptions, listener: Listener) -> Any:
    parameters = _server(vendor, str(options.path), listener)
    parameters.verbosity = _BUFFERS if options.keeps_log else _QUIET
    parameters.endpoint_metrics = True
    on_cpu = options.gpu is None
    # One GPU or none, never several; -1 has llama.cpp forget those that it found.
    parameters.split_mode = vendor.llama_split_mode.LLAMA_SPLIT_MODE_NONE
    parameters.main_gpu = -1 if options.gpu is None else options.gpu
    parameters.n_gpu_layers = 0 if on_cpu else _ALL_LAYERS
    parameters.no_kv_offload = on_cpu
    parameters.no_op_offload = on_cpu
    parameters.n_parallel = options.parallel
    parameters.n_ctx = options.context * options.parallel
    parameters.n_batch = parameters.n_ubatch = max(CHUNK, options.parallel)
    # Keeps the prefix of each conversation: in its slot while there is room, else in memory.
    parameters.cache_prompt = True
    parameters.cache_ram_mib = options.cache_mib
    parameters.cpuparams.n_threads = options.threads
    parameters.cpuparams_batch.n_threads = options.threads
    return parameters


def _server(vendor: Any, path: str, listener: Listener) -> Any:
    """Return the parameters of a server that nobody else can reach."""
    parameters = vendor.CommonParams()
    parameters.model.path = path
    parameters.hostnames = [listener.hostname]
    parameters.api_keys = [listener.key] if listener.key else []
    parameters.cors_origins = ""
    parameters.ui = False
    parameters.offline = True
    parameters.n_threads_http = _CONNECTIONS
    parameters.fit_params = False  # the context is what was asked for, or an error
    return parameters


def _load(vendor: Any, parameters: Any) -> tuple[Any, tuple[LogLine, ...]]:
    """Load, and return the server and, where it writes it, its log."""
    if parameters.verbosity == _QUIET:
        try:
            return vendor.Server(parameters), ()
        except RuntimeError as error:
            raise LoadFailedError(str(error)) from error
    mark = secrets.token_hex(8)
    failure: RuntimeError | None = None
    with captured_log() as log:
        try:
            server = vendor.Server(parameters)
        except RuntimeError as error:
            failure = error
        finally:
            _fail_to_load(vendor, mark, _ERRORS)
            _fail_to_load(vendor, mark, _QUIET)
            log.wait_for(mark, _LAST_WORDS)
    lines = tuple(takewhile(lambda line: mark not in line.text, log.lines))
    if failure is not None:
        raise LoadFailedError(str(failure), lines) from failure
    return server, lines


def _fail_to_load(vendor: Any, name: str, verbosity: int) -> None:
    """Set how much llama.cpp writes, and have it write `name` where that includes errors.

    It writes in a thread of its own, in order: with the name all that came before has arrived. How
    much it writes is one number for the process, which nothing else sets than to load, at once.
    """
    listener = private_listener()
    parameters = _server(vendor, name, listener)
    parameters.verbosity = verbosity
    try:
        with suppress(RuntimeError):  # there is no such file
            vendor.Server(parameters)
    finally:
        listener.close()


@lru_cache(maxsize=1)
def _first_process() -> int:
    """Return the process that used llama.cpp first; a forked child inherits the answer."""
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=_end_without_destructors)
    return os.getpid()


def _end_without_destructors() -> None:
    """Have a forked child end right after Python has, with Python's status.

    What llama.cpp does at a process's end waits for its log's thread, which is not in the child,
    or crashes without it.
    """
    libc = ctypes.CDLL(None)
    if hasattr(libc, "on_exit"):  # the GNU C library has it
        libc.on_exit(libc._exit, None)


def _free(held: list[Any], listener: Listener, owner: int) -> None:
    if os.getpid() != owner:  # a forked child leaves its parent's engine and socket alone
        return
    if os.getpid() != _first_process():
        # The destructor waits for llama.cpp's thread that writes its log, and a forked child
        # of a process that has used llama.cpp has none.
        leak(held[:])
    held.clear()  # the server ends in its destructor
    listener.close()
