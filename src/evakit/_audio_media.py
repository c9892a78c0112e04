"""Decoding with PyAV (FFmpeg): WebM, MP4 and M4A, AMR, AAC, and what libsndfile lacks a codec for.

FFmpeg reads hundreds of formats, some of which name other files and addresses to be opened. So a
format is never guessed, but named after a look at the first bytes; only decoders of sound are
let in; and FFmpeg is given our own file object and refused any other. PyAV, and FFmpeg with it,
is imported when the first such file comes. What may not live here: resampling.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any, Final, Never

import numpy as np
import numpy.typing as npt

from ._audio_input import Input
from ._audio_samples import Sound, check_rate, mix
from ._audio_soundfile import damaged, not_audio
from .errors import AudioError, AudioFormatError, EmptyAudioError

__all__ = ["has_pyav", "media_sound"]

_KINDS: Final = {
    "matroska": "a WebM or Matroska file",
    "mov": "an MP4, M4A, MOV or 3GP file",
    "amr": "an AMR file",
    "aac": "an AAC file",
    "caf": "a CAF file with a rare codec",
    "ogg": "an OGG file with a rare codec",
    "mp3": "an MP3 file of a rare sort",
}
# The names of FFmpeg's decoders. None of them is for pictures: a video's pictures stay unread.
_CODECS: Final = (
    "aac,aac_latm,ac3,alac,amrnb,amrwb,eac3,flac,g722,g726,g726le,gsm,gsm_ms,mp1float,"
    "mp2float,mp3float,opus,libopus,vorbis,libvorbis,speex,libspeex,wavpack,adpcm_g722,"
    "adpcm_g726,adpcm_ima_qt,adpcm_ima_wav,adpcm_ms,adpcm_swf,adpcm_yamaha,pcm_alaw,"
    "pcm_f32be,pcm_f32le,pcm_f64be,pcm_f64le,pcm_mulaw,pcm_s16be,pcm_s16le,pcm_s24be,"
    "pcm_s24le,pcm_s32be,pcm_s32le,pcm_s8,pcm_u8"
)
_LIMITS: Final = {
    "codec_whitelist": _CODECS,
    "protocol_whitelist": "none",
    "max_streams": "100",
}
_FULL_SCALE: Final = {"u8": 128.0, "s16": 2.0**15, "s32": 2.0**31, "flt": 1.0, "dbl": 1.0}
_DTYPES: Final = {"u8": "u1", "s16": "i2", "s32": "i4", "flt": "f4", "dbl": "f8"}
_MAX_PLANES: Final = 8  # PyAV reads beyond the list of an AVFrame's planes where there are more
_BLOCK: Final = 1 << 16  # samples of which frames, a few milliseconds each, are put together


def has_pyav() -> bool:
    """Say whether PyAV is installed, and import it if it is."""
    try:
        import av  # noqa: F401, PLC0415 (takes 40 to 90 ms and 16 MB)
    except (ImportError, OSError):  # OSError: a library of the system is missing
        return False
    return True


def media_sound(
    kind: str,
    data: Input,
    name: str,
    stack: ExitStack,
    *,
    otherwise: AudioFormatError | None = None,
) -> Sound:
    """Return what the first track of sound in a file holds; the stack closes the file.

    `otherwise` is what libsndfile said, raised where FFmpeg cannot read the file either.

    Raises:
        AudioFormatError: it is not such a file, or PyAV is not installed.
        EmptyAudioError: there is no sound in it.

    """
    try:
        import av  # noqa: PLC0415 (as in `has_pyav`)
    except (ImportError, OSError) as error:
        raise AudioFormatError(
            f"{name} is {_KINDS[kind]}, which needs PyAV to be read; install it with: "
            "pip install av (the extra evakit-voice[media]), or convert the file to WAV."
        ) from error
    data.seek(0)  # libsndfile may have looked at it
    try:
        container = stack.enter_context(
            av.open(
                data,
                format=kind,
                container_options={**_LIMITS, "format_whitelist": kind},
                metadata_errors="replace",
                io_open=_refuse,
            )
        )
        stream: Any = container.streams.best("audio")
    except av.FFmpegError as error:
        data.check(name)
        raise (otherwise or not_audio(name, _reason(error))) from error
    data.check(name)
    if stream is None:
        raise otherwise or EmptyAudioError(
            f"{name} has no track of sound in it; record it again with sound."
        )
    codec = stream.codec_context
    if codec is None or codec.codec.name not in _CODECS.split(","):
        coded = "an unknown codec" if codec is None else codec.codec.name
        raise otherwise or not_audio(name, f"its sound is coded as {coded}")
    codec.thread_count = 1  # sound is quick to decode, and threads cost more than they bring
    return Sound(check_rate(codec.sample_rate), None, _blocks(container, stream, data, name))


def _refuse(url: str, _flags: int, _options: dict[str, str]) -> Never:
    raise AudioError(f"An audio file may not open {url!r}.")


def _reason(error: Any) -> str:
    return str(error.strerror or error).rstrip(".")


def _blocks(
    container: Any, stream: Any, data: Input, name: str
) -> Iterator[tuple[npt.NDArray[np.float32], int]]:
    """Put frames of one sample rate together to blocks."""
    held: list[npt.NDArray[np.float32]] = []
    count = rate = 0
    for frame in _frames(container, stream, data, name):
        if held and (frame.sample_rate != rate or count >= _BLOCK):
            yield np.concatenate(held), rate
            held, count = [], 0
        if not frame.samples:
            continue
        rate = check_rate(frame.sample_rate)
        held.append(_mono(frame, name))
        count += frame.samples
    if held:
        yield np.concatenate(held), rate


def _frames(container: Any, stream: Any, data: Input, name: str) -> Iterator[Any]:
    import av  # noqa: PLC0415 (loaded by now)

    try:
        for packet in container.demux(stream):
            data.check(name)
            if packet.is_corrupt:
                raise damaged(name, "its last part is not all there")
            yield from packet.decode()
    except av.FFmpegError as error:
        data.check(name)
        raise damaged(name, _reason(error)) from error
    data.check(name)


def _mono(frame: Any, name: str) -> npt.NDArray[np.float32]:
    """Return the mean of a frame's channels."""
    channels = frame.layout.nb_channels
    kind = frame.format.name.removesuffix("p")
    if kind not in _DTYPES or (frame.format.is_planar and channels > _MAX_PLANES):
        raise not_audio(name, f"it has {channels} channels of {frame.format.name} samples")
    dtype = np.dtype(_DTYPES[kind])
    if frame.format.is_planar:
        planes = [np.frombuffer(p, dtype, frame.samples) for p in frame.planes[:channels]]
        frames = np.stack(planes, axis=1)
    else:
        packed = np.frombuffer(frame.planes[0], dtype, frame.samples * channels)
        frames = packed.reshape(-1, channels)
    with np.errstate(all="ignore"):  # what is no number is refused by `check_samples`
        samples = frames.astype(np.float32)
        if kind == "u8":
            samples -= 128.0
        samples /= np.float32(_FULL_SCALE[kind])
    return mix(samples)
