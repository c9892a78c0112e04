"""Where the engine listens: reachable by nobody else, and gone afterwards."""

from __future__ import annotations

import os
import socket
import stat
import tempfile
from pathlib import Path

import psutil
import pytest

from evakit_llamacpp._engine import Engine, EngineOptions
from evakit_llamacpp._listener import (
    LoopbackListener,
    SocketListener,
    private_listener,
    remove_abandoned,
)
from evakit_llamacpp._wire import EngineClosedError

pytestmark = pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="this system has none")


@pytest.fixture
def engine(gguf):
    """A function that loads an engine, closed after the test."""
    engines = []

    def load(listener=None) -> Engine:
        options = EngineOptions(path=gguf, context=256, parallel=1, threads=1, cache_mib=0)
        engines.append(Engine(options, listener))
        return engines[-1]

    yield load
    for loaded in engines:
        loaded.close()


def test_the_socket_lies_in_a_folder_of_this_user_alone_and_goes_with_the_engine(engine):
    listener = private_listener()
    loaded = engine(listener)
    assert stat.S_IMODE(listener.folder.stat().st_mode) == 0o700
    assert [path.name for path in listener.folder.iterdir()] == ["llm.sock"]
    assert not [c for c in psutil.Process().net_connections("inet") if c.status == "LISTEN"]
    loaded.close()
    assert not listener.folder.exists()


def test_a_port_where_there_are_no_sockets_answers_only_to_its_key(engine):
    listener = LoopbackListener()
    loaded = engine(listener)
    assert loaded.tokens("hello") == 1
    for headers in ({}, {"Authorization": "Bearer wrong"}):
        connection = listener.connection(loaded._address)
        connection.request("POST", "/tokenize", '{"content": "hello"}', headers)
        assert connection.getresponse().status == 401
        connection.close()
    port = int(loaded._address.rpartition(":")[2])
    loaded.close()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port))


def test_a_closed_engine_says_so_and_closing_again_is_fine(engine):
    loaded = engine()
    loaded.close()
    loaded.close()
    with pytest.raises(EngineClosedError):
        loaded.count([{"role": "user", "content": "a"}])
    with pytest.raises(EngineClosedError):
        loaded.stream({"messages": []}, lambda _chunk: False)


def test_a_temporary_folder_with_a_path_too_long_for_a_socket_is_not_used(tmp_path, monkeypatch):
    long = tmp_path / ("x" * 100)
    long.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(long))
    listener = private_listener()
    try:
        assert isinstance(listener, SocketListener)
        assert len(os.fsencode(listener.hostname)) <= 100
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(listener.hostname)
    finally:
        listener.close()
    assert not any(long.iterdir())


def test_where_no_folder_can_be_written_a_port_with_a_key_is_used(monkeypatch):
    def refuse(**_arguments):
        raise PermissionError

    monkeypatch.setattr(tempfile, "mkdtemp", refuse)
    listener = private_listener()
    assert isinstance(listener, LoopbackListener)
    assert len(listener.key) > 30


def test_folders_left_by_processes_that_were_killed_are_removed():
    with tempfile.TemporaryDirectory() as parent:
        servers = {}
        for name in ("dead", "alive", "fresh"):
            folder = tempfile.mkdtemp(prefix=f"evakit-llm-{name}", dir=parent)
            servers[name] = socket.socket(socket.AF_UNIX)
            servers[name].bind(f"{folder}/llm.sock")
            if name != "fresh":
                os.utime(f"{folder}/llm.sock", (0, 0))
        servers["alive"].listen()
        servers["dead"].close()
        servers["fresh"].close()
        remove_abandoned(Path(parent))
        left = sorted(path.name[11:16] for path in Path(parent).iterdir())
        servers["alive"].close()
        assert left == ["alive", "fresh"]
