"""`evakit ask`: the contract of its JSON, and what it says when something is wrong."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import numpy as np
import pytest

import evakit


def test_json_is_one_object_with_the_promised_keys(evakit_json, scripted, question, tmp_path):
    reply = tmp_path / "reply.mp3"
    answer = evakit_json("ask", question, "-o", reply, *scripted)

    assert list(answer) == [
        "heard",
        "language",
        "reply",
        "audio",
        "input_s",
        "timings",
        "backends",
    ]
    assert answer["heard"] == "what is it"
    assert answer["language"] == "en"
    assert answer["reply"] == "It is a test."
    assert answer["audio"] == str(reply)
    assert answer["input_s"] == 1.0
    timings = answer["timings"]
    assert list(timings) == ["transcription_s", "first_token_s", "first_audio_s", "total_s"]
    assert 0 <= timings["transcription_s"] <= timings["first_token_s"]
    assert timings["first_token_s"] <= timings["first_audio_s"] <= timings["total_s"]
    assert answer["backends"]["tts"] == {
        "name": "tone",
        "model": "tone",
        "device": "cpu",
        "degraded": None,
        "verdict": "unknown",  # a scripted voice has no model to look at
    }
    assert set(answer["backends"]) == {"stt", "llm", "tts"}
    assert reply.read_bytes().startswith(b"ID3")


def test_what_runs_on_the_cpu_for_want_of_a_gpu_says_so_once_for_each_reason(
    evakit_command, scripted, question, tmp_path
):
    arguments = [*scripted[:4], "--tts", "piper", "-o", tmp_path / "reply.wav"]
    status, out, err = evakit_command("ask", question, *arguments)
    assert status == 0
    assert "cpu (degraded)" in out
    assert out.count("Degraded to the CPU (tts): ") == 1
    assert "GPU" in out.partition("Degraded")[2]
    assert "'evakit doctor' says what cures that" in err


def test_people_see_what_was_heard_said_and_where_it_ran(
    evakit_command, scripted, question, tmp_path
):
    status, out, err = evakit_command("ask", question, "-o", tmp_path / "reply.wav", *scripted)

    assert status == 0
    assert "Heard: what is it" in out
    assert "Reply: It is a test." in out
    for word in ("stt", "llm", "tts", "cpu", "first audio after", "speech are in"):
        assert word in out
    assert err == ""
    assert evakit.Audio.load(tmp_path / "reply.wav").duration > 0.5


@pytest.mark.parametrize(
    "text", ["[laughs] yes [no].", "an [/i] end", "[bold]no[/bold]", ":warning: a colon", "\\[x]"]
)
def test_brackets_and_colons_that_are_heard_and_said_are_shown(
    evakit_command, question, tmp_path, text
):
    backends = ("--stt", f"scripted:{text}", "--llm", f"scripted:{text}", "--tts", "tone")
    status, out, err = evakit_command("ask", question, "-o", tmp_path / "reply.wav", *backends)

    assert (status, err) == (0, "")
    assert out.startswith(f"Heard: {text}\nReply: {text}\n")


def test_brackets_in_the_names_of_files_are_shown(evakit_command, scripted, tmp_path):
    silence, reply = tmp_path / "[b]silence[b].wav", tmp_path / "[i]reply.wav"
    evakit.Audio(np.zeros(16_000), 16_000).save(silence)
    status, _, err = evakit_command("ask", silence, "-o", reply, *scripted)
    assert status == 1
    assert f"Nothing was heard in {silence}:" in err

    status, out, _ = evakit_command("say", "Hello.", "-o", reply, "--tts", "tone")
    assert status == 0
    assert f"speech are in {reply} " in out


def test_a_question_is_decoded_once_and_on_no_event_loop(
    evakit_json, scripted, question, tmp_path, monkeypatch
):
    load, seen = evakit.Audio.load.__func__, []

    def watched(cls, source, **options):
        seen.append((source, threading.current_thread() is threading.main_thread()))
        return load(cls, source, **options)

    monkeypatch.setattr(evakit.Audio, "load", classmethod(watched))
    evakit_json("ask", question, "-o", tmp_path / "reply.wav", *scripted)

    assert seen == [(str(question), False)]


def test_silence_is_named_and_is_a_failure_without_a_reply(evakit_command, scripted, tmp_path):
    silence = tmp_path / "silence.wav"
    evakit.Audio(np.zeros(16_000), 16_000).save(silence)
    reply = tmp_path / "reply.wav"
    status, out, err = evakit_command("ask", silence, "-o", reply, *scripted, "--json")

    assert status == 1
    answer = json.loads(out)
    assert (answer["heard"], answer["reply"], answer["audio"]) == ("", "", None)
    assert answer["timings"]["first_token_s"] is None
    assert "Nothing was heard in" in err
    assert not reply.exists()


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("missing.wav", None, "check the path"),
        ("empty.wav", b"", "empty, without"),
        ("text.wav", b"This is not audio at all, it is text.\n" * 20, "not audio"),
    ],
)
def test_a_file_that_is_no_question_is_one_sentence(
    evakit_command, scripted, tmp_path, name, content, says
):
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    status, out, err = evakit_command("ask", path, "-o", tmp_path / "r.wav", *scripted)

    assert status == 1
    assert out == ""
    assert err.startswith("Error: ")
    assert says in err
    assert err.count("\n") == 1
    assert "Traceback" not in err
    assert not (tmp_path / "r.wav").exists()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--stt", "wisper"), "did you mean 'whisper'?"),
        (("--tts", "absent"), "no_such_engine is not installed"),
        (("--llm", "groq"), "There is no llm named 'groq'"),
        (("--voice", "bob"), "it has tone, ton"),
        (("--language", "de"), "no voice for the language"),
        (("--voice", "tone", "--language", "fr"), "choose ton"),
        (("--device", "gpu"), "not a device"),
        (("--stt", "scripted@cuda:1"), "leave '@cuda:1' out of its name"),
        (("--tts", "piper@cuda:1"), "nothing was loaded"),
        (("--tts", "tone:loud"), "no models to choose from"),
    ],
)
def test_a_wrong_choice_is_one_sentence_that_says_what_to_do(
    evakit_command, scripted, question, tmp_path, options, says
):
    status, out, err = evakit_command(
        "ask", question, "-o", tmp_path / "r.wav", *scripted, *options
    )

    assert status == 1
    assert says in err
    assert err.startswith("Error: ")
    assert err.count("\n") == 1
    assert out == ""


@pytest.mark.parametrize(
    ("output", "says"),
    [("nowhere/reply.wav", "cannot be written"), ("reply.xyz", "wav, flac, ogg, mp3")],
)
def test_a_reply_that_cannot_be_written_is_said_and_leaves_nothing(
    evakit_command, scripted, question, tmp_path, output, says
):
    before = set(Path(tmp_path).rglob("*"))
    status, _, err = evakit_command("ask", question, "-o", tmp_path / output, *scripted)

    assert status == 1
    assert says in err
    assert set(Path(tmp_path).rglob("*")) == before
