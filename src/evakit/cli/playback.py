"""Playing speech while it is made, through whatever player the machine has.

What may not live here: choosing a device, recording, and the sinks of calls, which are the
library's and not the command's.
"""

from __future__ import annotations

import contextlib
import os
import queue
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from types import TracebackType
from typing import IO, Final, Self

from attrs import frozen

from ..audio import Audio, AudioFormat

__all__ = ["Playback", "Player", "play", "players"]

_PATIENCE: Final = 10.0  # seconds after its sound should be over, for a player to end
_TICK: Final = 0.1  # seconds; on Windows only a wait with an end can be interrupted


@frozen
class Player:
    """A program that plays: a stream of 16-bit samples from its standard input, or a file."""

    command: tuple[str, ...]
    is_streaming: bool = True

    def start(self, rate: int, file: Path | None) -> subprocess.Popen[bytes]:
        """Run it."""
        program, *options = self.command
        return subprocess.Popen(  # noqa: S603 (a player found on PATH)
            [
                shutil.which(program) or program,
                *(option.format(rate=rate) for option in options),
                *([str(file)] if file else []),
            ],
            stdin=subprocess.PIPE if self.is_streaming else subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            # Ctrl-C goes to all programs of the terminal; when this one ends is for us to say.
            start_new_session=os.name == "posix",
        )


_WINDOWS: Final = Player(("winsound",), is_streaming=False)  # a part of Python there
_PULSE: Final = "--playback --format=s16le --rate={rate} --channels=1 --latency-msec=200"
_ALSA: Final = "-q -t raw -f S16_LE -r {rate} -c 1"
_PLAYERS: Final = (
    Player(("pacat", *_PULSE.split())),
    Player(("aplay", *_ALSA.split())),
    Player(("pw-play",), is_streaming=False),
    Player(("afplay",), is_streaming=False),
)


def players() -> tuple[Player, ...]:
    """Return the players that can be used, the best first; none where there is no speaker."""
    if sys.platform == "win32":
        return (_WINDOWS,)
    if sys.platform.startswith("linux") and not _has_sound():
        return ()
    return tuple(player for player in _PLAYERS if shutil.which(player.command[0]))


def _has_sound() -> bool:
    """Say whether a Linux has a sound server or a sound card."""
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    sockets = [Path(runtime, name) for name in ("pulse/native", "pipewire-0")] if runtime else []
    if "PULSE_SERVER" in os.environ or any(socket.exists() for socket in sockets):
        return True
    try:
        return "no soundcards" not in Path("/proc/asound/cards").read_text("utf-8")
    except OSError:
        return False


def play(audio: Audio) -> bool:
    """Play `audio` to its end and say whether that was possible."""
    for player in players():
        with Playback(player) as playback:
            playback.add(audio)
            if playback.finish():
                return True
    return False


class Playback:
    """A reply that is being played, in a thread of its own; leaving the block stops it."""

    def __init__(self, player: Player, clock: Callable[[], float] = time.monotonic) -> None:
        self._player = player
        self._clock = clock
        self._chunks: queue.SimpleQueue[Audio | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._play, name="evakit-playback", daemon=True)
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()  # between starting a process and stopping it
        self._stopped = threading.Event()
        self._has_failed = False
        self._samples = 0
        self._rate = 1
        self._ends_at = 0.0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with self._lock:
            self._stopped.set()
            if self._process is not None:
                self._process.kill()
        self._chunks.put(None)
        self._thread.join()
        if self._process is not None:
            self._process.wait()

    def add(self, audio: Audio) -> None:
        """Play a chunk after those before it. Does not wait."""
        self._ends_at = max(self._ends_at, self._clock()) + audio.duration
        self._samples += len(audio)
        self._rate = audio.sample_rate
        self._chunks.put(audio)

    @property
    def played(self) -> int:
        """Samples that have been played, by the clock: no player tells."""
        rest = max(self._ends_at - self._clock(), 0.0)
        return max(self._samples - round(rest * self._rate), 0)

    def finish(self) -> bool:
        """Wait until all is played, and say whether it could be."""
        self._chunks.put(None)
        while self._thread.is_alive():
            self._thread.join(_TICK)
            if self._clock() > self._ends_at + _PATIENCE:
                self._has_failed = True  # it hangs; leaving the block ends it
                break
        return not self._has_failed

    def _play(self) -> None:
        play = self._play_stream if self._player.is_streaming else self._play_files
        try:
            play()
        except OSError:  # it ended early, or could not be started
            self._has_failed = True

    def _take(self) -> Iterator[Audio]:
        while (audio := self._chunks.get()) is not None and not self._stopped.is_set():
            if len(audio):
                yield audio

    def _play_stream(self) -> None:
        with contextlib.ExitStack() as pipes:
            form = pipe = None
            for audio in self._take():
                if form is None:
                    form = AudioFormat(audio.sample_rate)
                    pipe = pipes.enter_context(_pipe_to(self._start(form.sample_rate)))
                if pipe is not None:
                    pipe.write(form.encode(audio))
                    pipe.flush()
        if form is not None:
            self._wait()

    def _play_files(self) -> None:
        with tempfile.TemporaryDirectory(prefix="evakit-") as folder:
            for number, audio in enumerate(self._take()):
                file = Path(folder) / f"{number}.wav"
                audio.save(file)
                if self._player is _WINDOWS:
                    _play_on_windows(file, audio.duration, self._stopped)
                else:
                    self._start(audio.sample_rate, file)
                    self._wait()

    def _start(self, rate: int, file: Path | None = None) -> subprocess.Popen[bytes]:
        with self._lock:
            if self._stopped.is_set():
                raise BrokenPipeError
            self._process = self._player.start(rate, file)
            return self._process

    def _wait(self) -> None:
        if self._process is not None and self._process.wait() != 0:
            self._has_failed = True


@contextlib.contextmanager
def _pipe_to(process: subprocess.Popen[bytes]) -> Generator[IO[bytes] | None]:
    """Close the pipe in the end, also where nobody reads it any more."""
    try:
        yield process.stdin
    finally:
        if process.stdin is not None:
            with contextlib.suppress(BrokenPipeError):  # the exit status says more
                process.stdin.close()


def _play_on_windows(file: Path, duration: float, stopped: threading.Event) -> None:
    if sys.platform == "win32":
        import winsound  # noqa: PLC0415 (only there on Windows)

        winsound.PlaySound(str(file), winsound.SND_FILENAME | winsound.SND_ASYNC)
        stopped.wait(duration)
        winsound.PlaySound(None, 0)
