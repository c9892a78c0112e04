"""Whatever is wrong is one sentence on standard error, and leaves nothing behind."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import soundfile

import evakit
from evakit.plugins import discover

from .conftest import install

TONE = (0.5 * np.sin(np.arange(16_000) / 9)).astype("float32")


@pytest.fixture(autouse=True)
def _nothing_is_left_running():
    """No thread is left; idle workers of a loop that has ended may take a moment."""
    before = set(threading.enumerate())
    yield
    for thread in set(threading.enumerate()) - before:
        thread.join(5)
        assert not thread.is_alive(), thread


def check(result):
    """Check that a command failed with one sentence and return it."""
    status, out, err = result
    assert status == 1
    assert out == ""
    assert err.startswith("Error: ")
    assert err.count("\n") == 1
    assert "Traceback" not in err
    return err


@pytest.mark.parametrize(
    ("rate", "channels", "subtype"),
    [
        (8_000, 1, "PCM_U8"),
        (96_000, 1, "PCM_24"),
        (44_100, 2, "PCM_16"),
        (48_000, 6, "PCM_16"),
        (22_050, 1, "FLOAT"),
        (8_000, 1, "ULAW"),
    ],
)
def test_common_kinds_of_wav_are_heard(evakit_json, scripted, tmp_path, rate, channels, subtype):
    path = tmp_path / "question.wav"
    tone = 0.5 * np.sin(np.arange(rate) * 2000 / rate)
    soundfile.write(path, np.repeat(tone[:, None], channels, axis=1), rate, subtype=subtype)

    answer = evakit_json("ask", path, "-o", tmp_path / "r.wav", *scripted)
    assert answer["heard"] == "what is it"
    assert answer["input_s"] == 1.0


def test_clipped_samples_are_heard(evakit_json, scripted, tmp_path):
    path = tmp_path / "loud.wav"
    soundfile.write(path, np.clip(TONE * 9, -1, 1), 16_000)

    assert evakit_json("ask", path, "-o", tmp_path / "r.wav", *scripted)["heard"] == "what is it"


def test_samples_that_are_not_numbers_are_refused(evakit_command, scripted, tmp_path):
    path = tmp_path / "nan.wav"
    broken = TONE.copy()
    broken[100] = np.nan
    soundfile.write(path, broken, 16_000, subtype="FLOAT")

    said = check(evakit_command("ask", path, "-o", tmp_path / "r.wav", *scripted))
    assert "nan.wav" in said
    assert "100" in said


def test_a_truncated_file_is_refused(evakit_command, scripted, tmp_path, question):
    path = tmp_path / "cut.wav"
    path.write_bytes(question.read_bytes()[:9_000])

    said = check(evakit_command("ask", path, "-o", tmp_path / "r.wav", *scripted))
    assert "cut.wav" in said
    assert "cut off" in said or "truncated" in said


def test_a_folder_is_refused(evakit_command, scripted, tmp_path):
    check(evakit_command("ask", tmp_path, "-o", tmp_path / "r.wav", *scripted))


def test_a_question_of_two_hours_is_refused_without_hearing_it(evakit_command, scripted, tmp_path):
    path = tmp_path / "hours.wav"
    with soundfile.SoundFile(path, "w", 1000, 1, "PCM_U8") as file:
        file.write(np.zeros(7200 * 1000))

    said = check(evakit_command("ask", path, "-o", tmp_path / "r.wav", *scripted))
    assert "600" in said


@pytest.mark.parametrize(
    ("option", "says"),
    [
        (("--stt", "whisper:enormous"), "enormous"),
        (("--llm", "llamacpp:enormous"), "enormous"),
        (("--tts", "piper:enormous"), "enormous"),
        (("--llm", "llamacpp:/no/such/model.gguf"), "model.gguf"),
        (("--tts", "piper", "--voice", "nobody"), "nobody"),
        (("--tts", "piper", "--voice", "joe", "--language", "fr"), "speaks en-US, not fr"),
        (("--language", "xx"), "xx"),
        (("--stt", "whisper:tiny.en", "--language", "fr", "--tts", "tone"), "English"),
    ],
)
def test_an_unknown_model_voice_or_language_of_a_real_engine_is_named(
    evakit_command, scripted, question, tmp_path, option, says
):
    said = check(evakit_command("ask", question, "-o", tmp_path / "r.wav", *scripted, *option))
    assert says in said


def test_a_plugin_that_cannot_be_imported_breaks_only_itself(
    evakit_command, evakit_json, scripted, question, tmp_path, monkeypatch
):
    install(
        tmp_path,
        "evakit-broken",
        {"evakit_broken.py": "import a_module_that_is_not_there\n"},
        "[evakit]\nbroken = evakit_broken\n",
    )
    monkeypatch.syspath_prepend(tmp_path)

    assert evakit_json("ask", question, "-o", tmp_path / "r.wav", *scripted)["heard"]
    (row,) = [r for r in evakit_json("plugins") if r["distribution"] == "evakit-broken"]
    assert "a_module_that_is_not_there" in row["reason"]
    said = check(evakit_command("say", "Hi.", "-o", tmp_path / "s.wav", "--tts", "broken"))
    assert "pip uninstall evakit-broken" in said


def test_two_plugins_with_one_name_are_both_named(evakit_command, tmp_path, monkeypatch):
    code = (
        "import evakit\nfrom evakit.testing.fakes import ToneTTS\n"
        "@evakit.hookimpl\ndef evakit_backends():\n"
        "    return [evakit.BackendSpec(kind='tts', name='tone', factory=ToneTTS)]\n"
    )
    install(
        tmp_path,
        "evakit-second",
        {"evakit_second.py": code},
        "[evakit]\nsecond = evakit_second\n",
    )
    monkeypatch.syspath_prepend(tmp_path)

    said = check(evakit_command("say", "Hi.", "-o", tmp_path / "s.wav", "--tts", "tone"))
    assert "evakit-second 1.0" in said
    assert "evakit-scripted 1.0" in said
    assert evakit_command("plugins")[0] == 0  # what explains it goes on


def test_without_network_a_missing_model_says_what_to_do(evakit_command, tmp_path, monkeypatch):
    monkeypatch.setenv("EVAKIT_HOME", str(tmp_path / "home"))
    nowhere = "http://127.0.0.1:9"  # the discard port: nobody listens
    for name in ("HF_ENDPOINT", "PIP_INDEX_URL"):
        monkeypatch.setenv(name, nowhere)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    for name in ("PIP_FIND_LINKS", "PIP_EXTRA_INDEX_URL"):
        monkeypatch.delenv(name, raising=False)

    status, out, err = evakit_command("models", "fetch", "whisper:tiny.en")
    bar, _, said = err.partition("\n")
    assert bar.startswith("Fetching whisper:tiny.en")
    assert "PIP_INDEX_URL" in check((status, out, said))
    assert not [p for p in (tmp_path / "home").rglob("*") if p.is_file() and p.stat().st_size]


@pytest.mark.parametrize("command", ["demo", "ask"])
def test_without_network_the_failure_of_all_three_models_is_one_sentence(
    command, question, tmp_path
):
    nowhere = "http://127.0.0.1:9"  # the discard port: nobody listens
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PIP_")} | {
        "EVAKIT_HOME": str(tmp_path / "home"),
        "HF_ENDPOINT": nowhere,
        "PIP_INDEX_URL": f"{nowhere}/simple",
        "PIP_CONFIG_FILE": os.devnull,
        "PATH": "",  # no player of sounds
    }
    arguments = [command, *([question] if command == "ask" else []), "-o", tmp_path / "r.wav"]
    done = subprocess.run(
        [sys.executable, "-m", "evakit", *arguments],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.splitlines()[-1].startswith("Error: ")
    assert done.stderr.count("Error: ") == 1
    for word in ("Traceback", "ExceptionGroup"):
        assert word not in done.stderr
    assert not (tmp_path / "r.wav").exists()


def test_a_cache_that_cannot_be_written_says_so(evakit_command, tmp_path, monkeypatch):
    (tmp_path / "home").write_text("a file where a folder should be")
    monkeypatch.setenv("EVAKIT_HOME", str(tmp_path / "home"))

    said = check(evakit_command("models", "fetch", "whisper:tiny.en"))
    assert "home" in said


def test_a_file_with_another_hash_is_refused(evakit_command, store, tmp_path, monkeypatch):
    (model,) = [m for spec in discover() for m in spec.models if m.name == "piper:joe"]
    here = store.ensure(model)
    home = tmp_path / "home"
    monkeypatch.setenv("EVAKIT_HOME", str(home))
    copy = home / here.relative_to(store.home)
    copy.mkdir(parents=True)
    for file in model.files:
        data = bytearray((here / file.name).read_bytes())
        data[len(data) // 2] ^= 1
        (copy / file.name).write_bytes(data)

    said = check(evakit_command("models", "verify", "piper:joe"))
    assert "en_US-joe-medium.onnx" in said
    assert "evakit models remove piper:joe" in said


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a disk that is always full")
def test_a_full_disk_is_said(evakit_command, tmp_path, monkeypatch):
    import resource
    import signal

    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, old[1]))
    try:
        result = evakit_command(
            "say", "Hello there, world.", "-o", tmp_path / "s.wav", "--tts", "tone"
        )
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)
        signal.signal(signal.SIGXFSZ, handler)

    assert "cannot be written" in check(result)
    assert not list(tmp_path.iterdir())


def test_a_path_in_a_text_is_text():
    with evakit.Conversation(
        stt=None,
        llm=evakit.backend("llamacpp"),
        tts=None,
    ) as conversation:
        reply = conversation.respond("/etc/passwd")

    assert reply.heard is None
    assert "root:" not in reply.text
