"""What the engine does to the process: nothing printed, nothing left, nothing early."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from evakit.abc import LLMRequest, LoadContext
from evakit.chat import Message
from evakit.errors import ConfigurationError, ModelError
from evakit_llamacpp import LlamaCppLLM

TALK = """
import sys
from evakit.abc import LLMRequest, LoadContext
from evakit.chat import Message
from evakit.errors import ModelError
from evakit_llamacpp import LlamaCppLLM

llm = LlamaCppLLM(sys.argv[1], context_tokens=256)
llm.load_model(LoadContext())
for text in ("Hello!", "How are you?", "word " * 400):
    pieces = []
    try:
        llm.generate(LLMRequest(messages=[Message("user", text)], max_tokens=5), pieces.append)
        assert len(pieces) > 2
    except Exception as error:
        assert type(error).__name__ == "ContextTooLongError", error
llm.unload_model()
try:
    LlamaCppLLM(sys.argv[2]).load_model(LoadContext())
except ModelError:
    pass
"""
IMPORTS = """
import sys
from evakit_llamacpp import LlamaCppLLM, evakit_backends
assert list(evakit_backends())
LlamaCppLLM().models()
sys.exit("xllamacpp" in sys.modules)
"""
LEFT_OPEN = """
import sys
from evakit.abc import LoadContext
from evakit_llamacpp import LlamaCppLLM
llm = LlamaCppLLM(sys.argv[1], context_tokens=64)
llm.load_model(LoadContext())
print(llm._engine._listener.folder)
"""


@pytest.fixture
def damaged(gguf, tmp_path):
    """The first megabyte of the model."""
    path = tmp_path / "damaged.gguf"
    with gguf.open("rb") as file:
        path.write_bytes(file.read(1_000_000))
    return path


def test_nothing_is_written_to_the_terminal(gguf, damaged, tmp_path):
    out, err = tmp_path / "out", tmp_path / "err"
    with out.open("wb") as stdout, err.open("wb") as stderr:
        command = [sys.executable, "-c", TALK, gguf, damaged]
        code = subprocess.run(command, stdout=stdout, stderr=stderr, check=False).returncode
    assert (out.read_text(), err.read_text(), code) == ("", "", 0)


def test_the_engine_is_imported_when_a_model_loads_and_not_before():
    assert subprocess.run([sys.executable, "-c", IMPORTS], check=False).returncode == 0


def test_a_backend_left_loaded_leaves_no_socket_behind_at_the_end_of_the_process(gguf):
    command = [sys.executable, "-c", LEFT_OPEN, gguf]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    folder = done.stdout.strip()
    assert "evakit-llm-" in folder
    assert not Path(folder).exists()
    assert done.stderr == ""


def test_a_damaged_file_is_refused_with_a_sentence_and_the_process_lives(damaged, tmp_path):
    process = psutil.Process()
    fds = process.num_fds()
    for _ in range(2):
        with pytest.raises(
            ModelError, match=r"could not load .*damaged\.gguf: the file is damaged"
        ):
            LlamaCppLLM(str(damaged)).load_model(LoadContext())
    assert process.num_fds() <= fds + 1  # the engine keeps one of its own
    with pytest.raises(ModelError, match="There is no file"):
        LlamaCppLLM(str(tmp_path / "no.gguf")).load_model(LoadContext())
    with pytest.raises(ModelError, match="evakit models fetch"):
        LlamaCppLLM().load_model(LoadContext())


def test_loading_and_unloading_leaves_no_thread_and_no_open_file(load):
    process = psutil.Process()
    counts = []
    for _ in range(3):
        llm = load()
        llm.generate(
            LLMRequest(messages=[Message("user", "Hi")], max_tokens=2), lambda _piece: False
        )
        llm.unload_model()
        llm.unload_model()
        counts.append((process.num_threads(), process.num_fds()))
    assert counts[0] == counts[1] == counts[2]


def test_more_context_than_the_model_was_trained_for_is_refused(load):
    with pytest.raises(ConfigurationError, match="trained for 8192"):
        load(context_tokens=9000, parallel=1)
