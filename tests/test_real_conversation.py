"""The starter models, for real: twenty turns, interruptions, Ctrl-C, quiet, speech heard again."""

from __future__ import annotations

import gc
import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time

import jiwer
import pytest
from whisper_normalizer.english import EnglishTextNormalizer

import evakit
from evakit.clauses import split_clauses

SENTENCES = """\
The train to the coast leaves from the second platform.
My sister planted tomatoes behind the old garden wall.
We walked along the river until the sun went down.
Could you please close the window before you leave?
The library opens early and closes late in the evening.
He forgot his umbrella on the bus again.
Fresh bread smells wonderful in the morning.
The children built a castle out of wet sand.
Please turn left at the next traffic light.
Our neighbour plays the violin every afternoon.
It takes about an hour to drive to the airport.
The museum is closed on the first day of the week.
She wrote a long letter to her grandmother.
There is a small bakery around the corner.
The weather will be cold and windy this weekend.
I would like a cup of tea with a little milk.
The dog was sleeping under the kitchen table.
They painted the front door bright blue.
You can borrow my bicycle if you bring it back.
The concert was better than anyone had expected.
""".splitlines()


@pytest.fixture(scope="module")
def conversation():
    with evakit.Conversation(language="en") as conversation:
        yield conversation


def resources():
    gc.collect()
    # Workers wait a second for more to do, and how many a turn needs depends on who is quicker.
    threads = [thread for thread in threading.enumerate() if thread.name != "evakit-worker"]
    return len(threads), len(os.listdir("/proc/self/fd"))


def test_a_spoken_question_is_heard_and_answered_aloud(conversation, clips):
    audio, text = clips["en/quick_brown_fox"]
    reply = conversation.respond(audio)

    normalize = EnglishTextNormalizer()
    assert jiwer.wer(normalize(text), normalize(reply.heard)) <= 0.12
    assert reply.text
    assert reply.audio.duration > 0.3
    assert reply.timings.first_audio_delay < reply.timings.total_delay


def test_each_device_is_what_the_engine_says(conversation):
    observed = {stage: b.lease.seen for stage, b in conversation.backends.items()}

    assert {b.device for b in conversation.backends.values()} == {"cpu"}
    assert "ctranslate2" in observed["stt"].lower()
    assert "CPU" in observed["llm"]
    assert "CPUExecutionProvider" in observed["tts"]


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="counts files through /proc")
@pytest.mark.timeout(300)
def test_twenty_turns_keep_history_and_end_with_the_threads_and_files_of_the_first(clips):
    audio, _ = clips["en/hello_world"]
    with evakit.Conversation(language="en", llm="llamacpp") as conversation:
        conversation.respond(audio)
        first = resources()
        for turn in range(19):
            said = audio if turn % 6 == 0 else f"Name the number that follows {turn}."
            reply = conversation.respond(said)
            assert reply.text
            assert conversation.history[-1].content == reply.text
        assert len(conversation.history) == 40
        threads, files = resources()
        assert files == first[1]
        assert threads == first[0]


def test_leaving_a_turn_stops_the_engines_and_the_conversation_goes_on(conversation):
    with conversation.turn("Tell me a long story about a sailor and his ship.") as turn:
        for event in turn:
            if isinstance(event, evakit.AudioReady):
                left = time.perf_counter()
                break
    took = time.perf_counter() - left

    assert turn.reply.interrupted
    # One clause may still be in synthesis; a whole story would take many times that.
    assert took < 5
    assert conversation.respond("Say yes.").text


def test_an_exception_inside_a_turn_stops_the_engines(conversation):
    with pytest.raises(ZeroDivisionError):
        with conversation.turn("Tell me a long story about a king.") as turn:
            for event in turn:
                if isinstance(event, evakit.TokenGenerated):
                    1 / 0  # noqa: B018

    assert turn.reply.interrupted
    assert conversation.respond("Say yes.").text


def test_a_message_longer_than_the_context_is_an_error_and_the_conversation_goes_on(conversation):
    with pytest.raises(evakit.errors.ContextTooLongError, match="token"):
        conversation.respond("word " * 20_000)

    assert conversation.respond("Say yes.").text


@pytest.mark.timeout(240)
def test_what_is_said_is_heard_again_word_for_word(tmp_path):
    normalize = EnglishTextNormalizer()

    async def main():
        heard = []
        async with evakit.Stack(llm=None, language="en") as stack:
            for number, sentence in enumerate(SENTENCES):
                async with stack.speaker() as speaker:
                    for clause in split_clauses(sentence, "en"):
                        await speaker.write(clause)
                    await speaker.end()
                    speech = evakit.Audio.join([s.audio async for s in speaker])
                path = tmp_path / f"{number}.wav"
                speech.save(path)
                heard.append((await stack.transcribe(evakit.Audio.load(path))).text)
        return heard

    import anyio

    heard = anyio.run(main)
    said = [normalize(s) for s in SENTENCES]
    wer = jiwer.wer(said, [normalize(h) for h in heard])

    assert len(said) == 20
    assert wer <= 0.10, list(zip(said, heard, strict=True))


def run(code, *, interrupt=False, timeout=120):
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        if interrupt:
            assert process.stdout.readline() == "now\n"
            process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=timeout)
    finally:
        process.kill()
        process.communicate()
    return out, err, process.returncode


@pytest.mark.timeout(180)
def test_the_engines_say_nothing_on_the_terminal():
    out, err, code = run(
        """
        import evakit
        from importlib.resources import files
        with evakit.Conversation() as conversation:
            question = (files("evakit.cli") / "question.wav").read_bytes()
            conversation.respond(question)
            conversation.respond("And you?")
            with conversation.turn("Tell me a story.") as turn:
                for event in turn:
                    break
        """
    )
    assert (out, err, code) == ("", "", 0)


@pytest.mark.timeout(60)
def test_the_demo_is_over_eight_seconds_after_it_was_started(tmp_path):
    reply = tmp_path / "reply.wav"
    command = [sys.executable, "-m", "evakit", "demo", "--json", "-o", str(reply)]  # plays nothing
    before = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    took = time.perf_counter() - before

    assert done.returncode == 0, done.stderr
    assert "capital of France" in json.loads(done.stdout)["heard"]
    assert evakit.Audio.load(reply).duration > 0.5
    assert took <= 8


INTERRUPTED = """
    import threading, time, evakit, signal
    from importlib.resources import files
    question = (files("evakit.cli") / "question.wav").read_bytes()
    said = set()
    def observe(event, conversation_id):
        name = type(event).__name__
        if name == MOMENT and name not in said:
            said.add(name)
            print("now", flush=True)
    with evakit.Conversation(observers=[observe]) as conversation:
        if MOMENT is None:
            threading.Timer(0.2, print, ["now"], {"flush": True}).start()
        try:
            conversation.respond(question)
            conversation.respond("Tell me a very long story about the sea.")
            print("it was not interrupted")
        except KeyboardInterrupt:
            asked = time.perf_counter()
            print(conversation.respond("Say yes.").text != "", len(conversation.history))
    for thread in set(threading.enumerate()) - {threading.main_thread()}:
        thread.join(5)  # told to end, and about to
    print([t.name for t in threading.enumerate()])
"""


@pytest.mark.timeout(180)
@pytest.mark.parametrize("moment", ["TranscriptReady", "TokenGenerated", "AudioReady", None])
def test_ctrl_c_in_any_stage_stops_it_and_the_conversation_goes_on(moment):
    out, err, code = run(f"    MOMENT = {moment!r}{INTERRUPTED}", interrupt=True)

    assert (err, code) == ("", 0)
    assert "not interrupted" not in out
    assert out.startswith("True ")
    assert out.rstrip().endswith("['MainThread']")
