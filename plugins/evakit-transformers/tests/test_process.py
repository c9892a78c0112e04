"""What the engine does to the process: nothing printed, nothing left, nothing early, no network."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import threading
import weakref

import psutil
import pytest
import torch
import transformers
from huggingface_hub import constants

from evakit.abc import LoadContext
from evakit.plugins import discover
from evakit_transformers import TransformersLLM
from evakit_transformers._quiet import quiet

TALK = """
import sys
reached = []
sys.addaudithook(lambda event, args: event in ("socket.connect", "socket.getaddrinfo")
                 and reached.append((event, args)))
import logging
class Kept(logging.Handler):
    names = set()
    def emit(self, record):
        self.names.add((record.name.partition(".")[0], record.levelname))
if "logged" in sys.argv[1]:
    logging.getLogger().addHandler(Kept())
    logging.getLogger().setLevel(1)
from evakit.abc import LLMRequest, LoadContext
from evakit.chat import Message
from evakit.errors import ContextTooLongError, ModelError
from evakit_transformers import TransformersLLM

for path in sys.argv[2:]:
    llm = TransformersLLM(path, context_tokens=256, threads=1, temperature=0.7)
    try:
        llm.load_model(LoadContext())
    except ModelError:
        continue
    llm.warm_up_model()
    for text in ("Hello!", "How are you?", "word " * 4000):
        pieces = []
        try:
            llm.generate(LLMRequest(messages=[Message("user", text)], max_tokens=9), pieces.append)
            assert len(pieces) > 2
        except ContextTooLongError:
            assert len(text) > 400
    assert len(llm.evidence()) == 2
    llm.unload_model()
import threading
assert threading.enumerate() == [threading.main_thread()], threading.enumerate()
assert reached == [], reached
assert {name for name, _ in Kept.names} <= {"evakit"}, Kept.names
assert {level for _, level in Kept.names} <= {"DEBUG"}, Kept.names
"""
IMPORTS = """
import json, sys, time
from evakit_transformers import TransformersLLM, evakit_backends
assert [spec.missing() for spec in evakit_backends()] == [None]
TransformersLLM().models()
print(json.dumps([name for name in sys.argv[1:] if name in sys.modules]))
"""
ENGINES = ["torch", "transformers", "huggingface_hub", "tokenizers", "safetensors", "gguf"]


@pytest.mark.parametrize("how", ["as usual", "all is logged and warnings are errors"])
def test_nothing_reaches_the_terminal_or_the_network_and_no_thread_is_left(
    how, tiny, tiny_gguf, tmp_path
):
    (tmp_path / "damaged.gguf").write_bytes(tiny_gguf.read_bytes()[:10_000])
    # A model whose configuration makes transformers warn.
    odd = tmp_path / "odd"
    odd.mkdir()
    for file in tiny.iterdir():
        (odd / file.name).write_bytes(file.read_bytes())
    recommended = {"temperature": 0.3, "do_sample": False, "top_k": 3, "max_length": 4}
    (odd / "generation_config.json").write_text(json.dumps(recommended))
    out, err = tmp_path / "out", tmp_path / "err"
    environ = {k: v for k, v in os.environ.items() if k != "CI"}
    options = []
    if how != "as usual":
        options = ["-W", "error"]
        environ["CI"] = "true"  # then transformers hands its records on to all handlers
    paths = [tiny, odd, tiny_gguf, tmp_path / "damaged.gguf"]
    with out.open("wb") as stdout, err.open("wb") as stderr:
        code = subprocess.run(
            [sys.executable, *options, "-c", TALK, how, *paths],
            stdout=stdout,
            stderr=stderr,
            env=environ,
            check=False,
        ).returncode
    assert (out.read_text(), err.read_text(), code) == ("", "", 0)


def test_the_engine_is_imported_when_a_model_loads_and_not_before():
    done = subprocess.run(
        [sys.executable, "-c", IMPORTS, *ENGINES], check=True, capture_output=True, text=True
    )
    assert json.loads(done.stdout) == []


def test_the_plugin_is_discovered_and_available():
    spec = discover().get("llm", "transformers")
    assert spec.distribution == "evakit-transformers"
    assert spec.missing() is None


def test_the_telemetry_of_the_hub_s_client_is_off(llm):
    assert constants.HF_HUB_DISABLE_TELEMETRY
    assert llm.evidence()


def test_loading_and_unloading_leaves_no_thread_and_no_open_file(loaded, ask):
    process = psutil.Process()
    counts = []
    for _ in range(4):
        llm = loaded()
        ask(llm, "hello", max_tokens=2)
        llm.unload_model()
        llm.unload_model()
        counts.append((threading.active_count(), process.num_fds()))
    assert counts[1] == counts[2] == counts[3]


def test_a_model_that_is_unloaded_is_freed(loaded, ask):
    llm = loaded()
    ask(llm, "hello", max_tokens=2)
    model = weakref.ref(llm._loaded.engine._model)
    assert model() is not None
    llm.unload_model()
    assert model() is None


def test_the_threads_are_those_that_were_asked_for_while_it_works_and_then_as_before(tiny, ask):
    before = torch.get_num_threads()
    for options, context, expected in (
        ({"threads": before + 1}, LoadContext(threads=before + 2), before + 1),
        ({}, LoadContext(threads=before + 2), before + 2),
        ({}, LoadContext(), before),
    ):
        llm = TransformersLLM(str(tiny), **options)
        llm.load_model(context)
        seen = []
        llm._loaded.engine._model.register_forward_hook(
            lambda *_, seen=seen: seen.append(torch.get_num_threads())
        )
        ask(llm, "hello", max_tokens=2)
        llm.unload_model()
        assert set(seen) == {expected}
        assert torch.get_num_threads() == before


# --- the program's own use of transformers


class Kept(logging.Handler):
    def __init__(self):
        super().__init__()
        self.texts = []

    def emit(self, record):
        self.texts.append(record.getMessage())


@pytest.fixture
def shown():
    """What a handler shows that a program has on transformers' loggers and on all others."""
    handler = Kept()
    for name in ("transformers", None):
        logging.getLogger(name).addHandler(handler)
    yield handler.texts
    for name in ("transformers", None):
        logging.getLogger(name).removeHandler(handler)


def test_what_transformers_tells_the_program_itself_is_still_told(shown, caplog):
    log = logging.getLogger("transformers.modeling_utils")
    with caplog.at_level("DEBUG", "evakit.transformers"):
        with quiet():
            log.warning("to %s", "us")
            with quiet():
                log.warning("to us again")
            other = threading.Thread(target=log.warning, args=["from another thread"])
            other.start()
            other.join()
        log.warning("to the program")
    # Twice, where CI is set and transformers' loggers hand on what they tell.
    told = dict.fromkeys(text for text in shown if not text.startswith("transformers: "))
    assert list(told) == ["from another thread", "to the program"]
    ours = [r for r in caplog.records if r.name == "evakit.transformers"]
    assert [(r.levelname, r.getMessage()) for r in ours] == [
        ("DEBUG", "transformers: to us"),
        ("DEBUG", "transformers: to us again"),
    ]


def test_the_program_s_own_bars_are_made_as_it_wants_them(capfd):
    bars = transformers.utils.logging.tqdm
    with quiet():
        with bars(range(3)) as ours:
            assert list(ours) == [0, 1, 2]
            ours.set_description("x")
        transformers.modeling_gguf_pytorch_utils.tqdm([1])
    assert capfd.readouterr() == ("", "")
    with bars(range(3), desc="theirs", mininterval=0) as theirs:
        theirs.monitor_interval = 0
        assert list(theirs) == [0, 1, 2]
    assert "theirs" in capfd.readouterr().err


FORKED = """
import os, sys
from evakit.abc import LLMRequest, LoadContext
from evakit.chat import Message
from evakit_transformers import TransformersLLM
llm = TransformersLLM(sys.argv[1], threads=1)
llm.load_model(LoadContext())
llm.warm_up_model()
child = os.fork()
if not child:
    llm.unload_model()
    sys.exit(7)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
llm.generate(LLMRequest(messages=[Message("user", "hello")], max_tokens=2), lambda _piece: False)
llm.unload_model()
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_forked_child_ends_as_it_wants_and_its_parent_goes_on(tiny):
    done = subprocess.run(
        [sys.executable, "-c", FORKED, tiny], capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.stderr, done.returncode) == ("", "", 0)
