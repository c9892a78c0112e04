"""Show where the time of a turn went, stage by stage.

python examples/where_the_time_went.py
"""

from __future__ import annotations

from importlib.resources import files

import evakit

question = evakit.Audio.load(str(files("evakit.cli") / "question.wav"))
with evakit.Conversation(voice="joe", language="en") as conversation:
    timings = conversation.respond(question).timings
    print(f"The first sound came {timings.first_audio_delay:.2f} s after the question's end.")
    for stage, delay in {
        "hearing": timings.transcription_delay,
        "first token": timings.time_to_first_token,
        "first clause": timings.clause_delay,
        "first sound": timings.synthesis_delay,
    }.items():
        print(f"{stage:>14} {delay:5.2f} s {'#' * round(40 * delay / timings.first_audio_delay)}")
