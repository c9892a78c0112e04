"""A model of the hub: evakit's own store fetches and checks it, then it loads without a network."""

from __future__ import annotations

import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from evakit.abc import LoadContext
from evakit.errors import ModelUnavailableError
from evakit.models import ModelStore
from evakit_transformers import TransformersLLM


@pytest.fixture
def hub(tiny, monkeypatch):
    """A hub on a loopback address with the tiny model; gives what was asked of it."""
    files = {path.name: path.read_bytes() for path in tiny.iterdir()}
    files |= {"README.md": b"# tiny", "pytorch_model.bin": b"x", "own.py": b"raise SystemExit"}
    asked = []

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_):
            pass

        def do_GET(self):
            asked.append(self.path)
            name = self.path.rpartition("/")[2]
            if self.path.startswith("/api/models/org/tiny/tree/v1"):
                body = json.dumps([_entry(*file) for file in files.items()]).encode()
            elif self.path.startswith("/org/tiny/resolve/v1/") and name in files:
                body = files[name]
            else:
                self.send_error(404)
                return
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = False
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_address[1]}")
    yield asked
    server.shutdown()
    thread.join()
    server.server_close()


def _entry(name, data):
    entry = {"type": "file", "path": name, "size": len(data)}
    if name.endswith(".safetensors"):
        return entry | {"lfs": {"oid": hashlib.sha256(data).hexdigest(), "size": len(data)}}
    header = b"blob %d\0" % len(data)
    return entry | {"oid": hashlib.sha1(header + data, usedforsecurity=False).hexdigest()}


def test_a_model_of_the_hub_is_fetched_by_the_store_and_answers(hub, llm, ask, tmp_path):
    brain = TransformersLLM("org/tiny@v1", context_tokens=512, threads=1, temperature=0)
    brain.name = "transformers"
    (model,) = brain.models()
    folder = ModelStore(tmp_path).ensure(model)
    fetched = {path.rpartition("/")[2] for path in hub if "/resolve/" in path}
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= fetched
    assert not fetched & {"README.md", "pytorch_model.bin", "own.py"}
    del hub[:]
    brain.load_model(LoadContext(models={model.name: folder}))
    assert ask(brain, "hello", max_tokens=9)[:-2] == ask(llm, "hello", max_tokens=9)[:-2]
    assert brain.vram_estimate(LoadContext(models={model.name: folder})) > 10 * 2**20
    brain.unload_model()
    assert hub == []  # transformers asked the hub for nothing


def test_a_repository_that_is_not_there_is_one_sentence(hub, tmp_path):
    (model,) = TransformersLLM("org/other").models()
    with pytest.raises(ModelUnavailableError, match="transformers:org/other"):
        ModelStore(tmp_path).ensure(model)
