"""What describing the backends costs, and when the engines come in."""

from __future__ import annotations

import json
import subprocess
import sys

from evakit.plugins import discover

ENGINES = ["av", "ctranslate2", "faster_whisper", "huggingface_hub", "onnxruntime", "tokenizers"]


def test_both_backends_are_discovered_and_available():
    registry = discover()
    for kind, name in (("stt", "whisper"), ("vad", "silero")):
        spec = registry.get(kind, name)
        assert spec.distribution == "evakit-whisper"
        assert spec.missing() is None


def test_no_engine_is_imported_before_a_model_loads(store):
    code = """
import json, sys
import evakit_whisper
from evakit.abc import LoadContext
from evakit.models import ModelStore
specs = {spec.kind: spec for spec in evakit_whisper.evakit_backends()}
stt, vad = specs["stt"].create("tiny.en"), specs["vad"].create()
names = [[name for name in sys.argv[1:] if name in sys.modules]]
folders = {model.name: ModelStore(offline=True).ensure(model) for model in stt.models()}
for backend in (vad, stt):
    backend.load_model(LoadContext(models=folders))
    names.append([name for name in sys.argv[1:] if name in sys.modules])
print(json.dumps(names))
"""
    store.ensure(discover().get("stt", "whisper").create("tiny.en").models()[0])
    result = subprocess.run(
        [sys.executable, "-c", code, *ENGINES], capture_output=True, text=True, check=True
    )
    assert json.loads(result.stdout) == [[], ["onnxruntime"], ENGINES]
    assert result.stderr == ""


def test_the_telemetry_of_what_comes_along_is_off():
    code = """
import os
import evakit_whisper._silero, evakit_whisper._loading
from evakit.privacy import import_onnxruntime, silence_hub_client
import huggingface_hub.constants as constants
silence_hub_client(); import_onnxruntime()
print(constants.HF_HUB_DISABLE_TELEMETRY, os.environ["ORT_DISABLE_TELEMETRY"])
"""
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.split() == ["True", "1"]
