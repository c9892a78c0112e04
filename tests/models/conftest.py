"""Loopback servers that act as the hub and as a package index, faults included."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import os
import threading
import zipfile
from collections import defaultdict
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from evakit.models import HubSource, Model, ModelFile, ModelStore

REVISION = "0d3d19a32d3338f10357c0889762bd8d64bbdeba"


class Server:
    """Serves `files`; `faults[path]` is a list of what goes wrong, one for each request."""

    def __init__(self):
        self.files = {}
        self.redirects = {}
        self.links = {}
        self.faults = defaultdict(list)
        self.requests = []  # (path, headers)
        self.asked = threading.Event()  # something was asked for
        self.gate = threading.Event()  # what `hold` and `stall` wait for
        server = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *args):
                pass

            def do_GET(self):
                server.requests.append((self.path, dict(self.headers)))
                server.asked.set()
                faults = server.faults[self.path]
                if faults and faults.pop(0)(server, self):
                    return
                server.answer(self)

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = False  # closing waits for them
        self.port = self._http.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.01,))
        self._thread.start()

    def close(self):
        self.gate.set()
        self._http.shutdown()
        self._thread.join()
        self._http.server_close()

    def answer(self, request, *, ranges=True):
        if request.path in self.redirects:
            request.send_response(307)
            request.send_header("Location", self.redirects[request.path])
            request.send_header("Content-Length", "0")
            request.end_headers()
            return
        data = self.files.get(request.path)
        if data is None:
            request.send_error(404, "Not Found")
            return
        start = 0
        if ranges and "Range" in request.headers:
            start = int(request.headers["Range"].removeprefix("bytes=").removesuffix("-"))
            if start >= len(data):
                request.send_response(416)
                request.send_header("Content-Range", f"bytes */{len(data)}")
                request.end_headers()
                return
            request.send_response(206)
            request.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        else:
            request.send_response(200)
        if request.path in self.links:
            request.send_header("Link", self.links[request.path])
        if "/simple/" in request.path:
            request.send_header("Content-Type", "text/html")
        request.send_header("Content-Length", str(len(data) - start))
        request.end_headers()
        request.wfile.write(data[start:])

    def paths(self):
        return [path for path, _ in self.requests]

    def ranges(self, path):
        return [headers.get("Range") for asked, headers in self.requests if asked == path]

    def add_wheel(self, name, version, members):
        """Offer a wheel in a simple index, with its metadata beside it; returns its path."""
        file = f"{name.replace('-', '_')}-{version}-py3-none-any.whl"
        wheel, metadata = make_wheel(name, version, members)
        self.files[f"/files/{file}"] = wheel
        self.files[f"/files/{file}.metadata"] = metadata
        self.files[f"/simple/{name}/"] = (
            f'<!DOCTYPE html><a href="/files/{file}#sha256={sha256(wheel)}" '
            f'data-core-metadata="sha256={sha256(metadata)}" '
            f'data-dist-info-metadata="sha256={sha256(metadata)}">{file}</a>'
        ).encode()
        return f"/files/{file}"


def cut(n_bytes):
    """Promise everything, send `n_bytes` of what was asked for, close."""

    def fault(server, request):
        data = server.files[request.path]
        start = 0
        if "Range" in request.headers:
            start = int(request.headers["Range"].removeprefix("bytes=").removesuffix("-"))
            request.send_response(206)
            request.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        else:
            request.send_response(200)
        request.send_header("Content-Length", str(len(data) - start))
        request.end_headers()
        request.wfile.write(data[start : start + n_bytes])
        return True

    return fault


def stall(n_bytes):
    """The same, and then silence."""
    send = cut(n_bytes)

    def fault(server, request):
        send(server, request)
        request.wfile.flush()
        server.gate.wait()
        return True

    return fault


def hold(server, request):
    """Answer properly, once the gate is open."""
    server.gate.wait()
    return False


def no_ranges(server, request):
    """Send all of it, whatever part is asked for."""
    server.answer(request, ranges=False)
    return True


def status(code):
    def fault(server, request):
        request.send_error(code)
        return True

    return fault


def endless(server, request):
    """Name no length, and send more than there should be."""
    request.send_response(200)
    request.end_headers()
    request.wfile.write(server.files[request.path] * 3)
    return True


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def git_sha1(data):
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()


def make_wheel(name, version, members):
    folder = f"{name.replace('-', '_')}-{version}.dist-info"
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n".encode()
    content = {
        **members,
        f"{folder}/METADATA": metadata,
        f"{folder}/WHEEL": b"Wheel-Version: 1.0\nGenerator: t\nRoot-Is-Purelib: true\n"
        b"Tag: py3-none-any\n",
    }
    record = "".join(
        f"{path},sha256={base64.urlsafe_b64encode(hashlib.sha256(data).digest()).decode().rstrip('=')}"
        f",{len(data)}\n"
        for path, data in content.items()
    )
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for path, data in content.items():
            archive.writestr(path, data)
        archive.writestr(f"{folder}/RECORD", record + f"{folder}/RECORD,,\n")
    return buffer.getvalue(), metadata


def hub_source(path, repo="org/repo"):
    return HubSource(repo, REVISION, path)


def hub_path(path, repo="org/repo"):
    return f"/{repo}/resolve/{REVISION}/{path}"


def model_file(name, data, *sources):
    return ModelFile(name, len(data), sha256(data), sources or (hub_source(name),))


def model(*files, name="whisper:base", **more):
    return Model(name=name, kind="stt", files=files, **more)


def left_over(home):
    """Every file below `home` except the locks."""
    return sorted(
        str(path.relative_to(home))
        for path in home.rglob("*")
        if path.is_file() and path.parent.name != "locks"
    )


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch):
    """Neither the proxies, the hub nor the index of whoever runs the tests."""
    for name in list(os.environ):
        if name.lower().endswith("_proxy") or name.startswith(("PIP_", "HF_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_DISABLE_PIP_VERSION_CHECK", "1")
    monkeypatch.setenv("PIP_NO_CACHE_DIR", "1")


@pytest.fixture
def serve():
    servers = []

    def start():
        servers.append(Server())
        return servers[-1]

    yield start
    for server in servers:
        server.close()


@pytest.fixture
def server(serve, monkeypatch):
    """A hub and a package index in one."""
    server = serve()
    monkeypatch.setenv("HF_ENDPOINT", server.url)
    monkeypatch.setenv("PIP_INDEX_URL", f"{server.url}/simple")
    return server


@pytest.fixture
def home(tmp_path):
    return tmp_path / "home"


@pytest.fixture
def store(home):
    return ModelStore(home)


@pytest.fixture
def impatient(store):
    store._network.stall_s = 0.15
    return store


@pytest.fixture
def tree(server):
    """Offer a repository on the hub, listed in pages of two; returns what lists it."""

    def offer(files, repo="org/repo", revision="main", large=()):
        for path, data in files.items():
            server.files[f"/{repo}/resolve/{revision}/{path}"] = data
        entries = [{"type": "directory", "path": "onnx", "size": 0, "oid": "0" * 40}]
        for path, data in files.items():
            entry = {"type": "file", "path": path, "size": len(data), "oid": git_sha1(data)}
            if path in large:
                entry["lfs"] = {"oid": sha256(data), "size": len(data), "pointerSize": 134}
            entries.append(entry)
        first = f"/api/models/{repo}/tree/{revision}?recursive=true"
        for start in range(0, len(entries), 2):
            page = first if start == 0 else f"{first}&cursor={start}"
            server.files[page] = json.dumps(entries[start : start + 2]).encode()
            if start + 2 < len(entries):
                server.links[page] = f'<{server.url}{first}&cursor={start + 2}>; rel="next"'
        return first

    return offer
