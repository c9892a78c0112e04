"""What reading audio costs: `python benchmarks/audio_formats.py [--json]`.

A minute of sound as a file of each kind, read again: how many times faster than it is listened
to, and compared with WAV. All kinds take turns within one run, so that their ratios hold whatever
else the machine does. Also what importing PyAV costs, in a process of its own.
What may not live here: how like the original a recording sounds, which tests hold.
"""

from __future__ import annotations

import argparse
import io
import json
import statistics
import subprocess
import sys
from time import perf_counter
from typing import Final

import av
import numpy as np
import soundfile

from evakit import Audio

SECONDS: Final = 60
ROUNDS: Final = 7
KINDS: Final = {
    "WAV, 16 bit": ("WAV", "PCM_16", 48_000),
    "WAV, mu-law": ("WAV", "ULAW", 8_000),
    "WAV, GSM 6.10": ("WAV", "GSM610", 8_000),
    "FLAC": ("FLAC", "PCM_16", 48_000),
    "OGG, Vorbis": ("OGG", "VORBIS", 48_000),
    "OGG, Opus": ("OGG", "OPUS", 48_000),
    "MP3": ("MP3", "MPEG_LAYER_III", 48_000),
    "WebM, Opus": ("webm", "libopus", 48_000),
    "M4A, AAC": ("ipod", "aac", 48_000),
    "M4A, ALAC": ("ipod", "alac", 48_000),
    "3GP, AMR": ("3gp", "libopencore_amrnb", 8_000),
}
IMPORT: Final = (
    "import sys, time, evakit; t = time.perf_counter(); import av; print(time.perf_counter() - t)"
)


def sound(rate: int) -> np.ndarray:
    """Return a minute of something that codecs have to work on: a wavering tone and noise."""
    time = np.arange(SECONDS * rate) / rate
    random = np.random.default_rng(1)
    tone = 0.3 * np.sin(2 * np.pi * 200 * time) * np.sin(2 * np.pi * 2 * time)
    return (tone + random.normal(0, 0.02, len(time))).astype(np.float32)


def encoded(container: str, codec: str, rate: int) -> bytes:
    """Return that minute as a file."""
    samples, buffer = sound(rate), io.BytesIO()
    if container.isupper():
        with soundfile.SoundFile(buffer, "w", rate, 1, codec, format=container) as file:
            for start in range(0, len(samples), 1 << 14):
                file.write(samples[start : start + (1 << 14)])
        return buffer.getvalue()
    with av.open(buffer, "w", format=container) as output:
        stream = output.add_stream(codec, rate=rate, layout="mono")
        size = stream.codec_context.frame_size or 1024
        for start in range(0, len(samples), size):
            part = (samples[None, start : start + size] * 32767).astype("<i2")
            frame = av.AudioFrame.from_ndarray(part, format="s16", layout="mono")
            frame.sample_rate, frame.pts = rate, start
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    return buffer.getvalue()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--json", action="store_true")
    as_json = parser.parse_args().json
    files = {kind: encoded(*how) for kind, how in KINDS.items()}
    took: dict[str, list[float]] = {kind: [] for kind in files}
    for _ in range(ROUNDS):
        for kind, data in files.items():
            started = perf_counter()
            Audio.load(data)
            took[kind].append(perf_counter() - started)
    seconds = {kind: statistics.median(times) for kind, times in took.items()}
    command = [sys.executable, "-c", IMPORT]
    imports = [
        float(subprocess.run(command, check=True, capture_output=True).stdout)  # noqa: S603 (ours)
        for _ in range(ROUNDS)
    ]
    imported = statistics.median(imports)
    if as_json:
        times = {kind: round(SECONDS / value) for kind, value in seconds.items()}
        print(json.dumps({"times_real_time": times, "import_av_s": round(imported, 3)}))
        return
    reference = seconds["WAV, 16 bit"]
    for kind, value in seconds.items():
        print(f"{kind:14} {SECONDS / value:7.0f} x real time, {value / reference:6.1f} x WAV")
    print(f"import av      {imported * 1000:7.0f} ms")


if __name__ == "__main__":
    main()
