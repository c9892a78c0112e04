"""Write down what is said in recordings, with the second at which each segment begins.

python examples/transcribe_recordings.py
python examples/transcribe_recordings.py interview.mp3 memo.wav
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from importlib.resources import files
from pathlib import Path

import anyio

import evakit

OUR_QUESTION = Path(str(files("evakit.cli") / "question.wav"))


async def main(recordings: Iterable[Path]) -> None:
    """Transcribe one recording after the other with one loaded model."""
    async with evakit.Stack(llm=None, tts=None) as stack:
        for recording in recordings:
            transcript = await stack.transcribe(recording)
            print(f"{recording.name} (language: {transcript.language})")
            for segment in transcript.segments:
                print(f"  {segment.start / (transcript.sample_rate or 1):6.1f} s  {segment.text}")


if __name__ == "__main__":
    anyio.run(main, [Path(name) for name in sys.argv[1:]] or [OUR_QUESTION])
