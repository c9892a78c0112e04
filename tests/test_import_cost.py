"""`import evakit` costs next to nothing and loads no engine."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

ENGINES = {
    "ctranslate2",
    "faster_whisper",
    "groq",
    "onnxruntime",
    "piper",
    "torch",
    "transformers",
    "xllamacpp",
}
MEASURE = """
import json, sys, time
start = time.perf_counter()
import evakit
seconds = time.perf_counter() - start
{then}
print(json.dumps([seconds, sorted({{name.split(".")[0] for name in sys.modules}})]))
"""


def fresh(then=""):
    """Import evakit in a new interpreter; return the seconds it took and what was imported."""
    done = subprocess.run(
        [sys.executable, "-c", MEASURE.format(then=then)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
    seconds, modules = json.loads(done.stdout)
    return seconds, set(modules)


def test_importing_takes_at_most_150_milliseconds():
    assert min(fresh()[0] for _ in range(5)) <= 0.150


@pytest.mark.parametrize(
    "then",
    [
        "",
        "evakit.Conversation",
        "evakit.Stack",
        "evakit.AsyncConversation",
        "[getattr(evakit, name) for name in evakit.__all__]",
        "evakit.Conversation(stt='whisper', llm='llamacpp', tts='piper')",
    ],
)
def test_nothing_public_loads_an_engine(then):
    assert fresh(then)[1] & ENGINES == set()


def test_importing_leaves_logging_alone():
    fresh(
        "import logging; assert not logging.getLogger().handlers\n"
        "for handler in logging.getLogger('evakit').handlers:\n"
        "    assert isinstance(handler, logging.NullHandler)"
    )
