"""Fixtures for the tests of the core."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from evakit.audio import Audio

BEEP = Path(__file__).parents[1] / "examples/evakit-beep"


@pytest.fixture(scope="session")
def beep_plugin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder into which pip has installed the plugin of the tutorial, as for any user."""
    target = tmp_path_factory.mktemp("beep")
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", target, BEEP],
        check=True,
        capture_output=True,
    )
    return target


@pytest.fixture(scope="session")
def encode_media(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., bytes]:
    """A function that makes a file with FFmpeg: audio, container, codec, options of the muxer."""
    path = tmp_path_factory.mktemp("media") / "media"

    def encode(
        audio: Audio | None,
        container: str,
        codec: str,
        layout: str = "mono",
        *,
        video: str | None = None,
        codec_options: dict[str, str] | None = None,
        **options: str,
    ) -> bytes:
        with av.open(str(path), "w", format=container, options=options) as file:
            if audio is not None:
                stream = file.add_stream(
                    codec, rate=audio.sample_rate, layout=layout, options=codec_options or {}
                )
            if video is not None:
                _add_pictures(file, video)
            if audio is not None:
                _add_sound(file, stream, audio)
        return path.read_bytes()

    return encode


def _add_sound(file: av.container.OutputContainer, stream: av.AudioStream, audio: Audio) -> None:
    packed = np.repeat(audio.samples, stream.codec_context.layout.nb_channels)[None]
    packed = (packed * 32767).astype("<i2")
    whole = av.AudioFrame.from_ndarray(packed, format="s16", layout=stream.layout)
    whole.sample_rate = audio.sample_rate
    queue = av.AudioFifo()
    queue.write(whole)
    size = stream.codec_context.frame_size or 1024
    at = 0
    while frame := queue.read(size) or queue.read(0, partial=True):
        frame.pts, frame.time_base = at, Fraction(1, audio.sample_rate)
        at += frame.samples
        file.mux(stream.encode(frame))
    file.mux(stream.encode(None))


def _add_pictures(file: av.container.OutputContainer, codec: str) -> None:
    stream = file.add_stream(codec, rate=25, width=64, height=48, pix_fmt="yuv420p")
    picture = av.VideoFrame.from_ndarray(np.zeros((48, 64, 3), np.uint8), format="rgb24")
    for _ in range(25):
        file.mux(stream.encode(picture.reformat(format="yuv420p")))
    file.mux(stream.encode(None))
