"""Playing a short sound through whatever player the machine has, where it has a speaker.

What may not live here: streaming playback, which a conversation needs and `streams.py` does.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

from ..audio import Audio

__all__ = ["play"]

_PLAYERS: Final = (
    ("pw-play",),
    ("paplay",),
    ("aplay", "-q"),
    ("afplay",),
)


def play(audio: Audio) -> bool:
    """Play `audio` to its end and say whether that was possible."""
    if not _has_speaker():
        return False
    with tempfile.TemporaryDirectory(prefix="evakit-") as folder:
        file = Path(folder) / "sound.wav"
        audio.save(file)
        if sys.platform == "win32":
            import winsound  # noqa: PLC0415 (only there on Windows)

            winsound.PlaySound(str(file), winsound.SND_FILENAME)
            return True
        return any(_try(player, file, audio.duration) for player in _PLAYERS)


def _has_speaker() -> bool:
    if not sys.platform.startswith("linux"):
        return True
    cards = Path("/proc/asound/cards")
    try:
        return "no soundcards" not in cards.read_text()
    except OSError:
        return False


def _try(player: tuple[str, ...], file: Path, duration: float) -> bool:
    program = shutil.which(player[0])
    if program is None:
        return False
    try:
        done = subprocess.run(  # noqa: S603 (a player found on PATH, a file of ours)
            [program, *player[1:], str(file)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=duration + 10,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0
