"""`evakit chat`: text in, text and speech out, a line a turn.

What may not live here: the turn itself, and how sound is played.
"""

from __future__ import annotations

import contextlib
import io
import os
import stat
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final, Self

import click
from rich.text import Text

from .._sync import Conversation, Turn
from ..audio import Audio, AudioWriter
from ..chat import History
from ..errors import ConfigurationError, EvakitError, StorageError
from ..events import AudioReady, Reply, TokenGenerated
from ..settings import from_text
from .ask import _label, _require_writable, _timings
from .console import err, fetch_bars, json_option, out, print_json
from .options import settings_options
from .playback import Playback, Player, players

__all__ = ["chat"]

_HELP: Final = (
    "/voice NAME, /language TAG and /system TEXT hold from the next turn on, and without a value "
    "take the choice back; /help, /quit. Ctrl-C interrupts a reply; here, it leaves, as does "
    "Ctrl-D."
)
_LARGEST_HISTORY: Final = 1 << 24  # bytes; two weeks of talk without a pause have as many
# A model's text is shown, never obeyed by the terminal: its control characters are replaced.
_SHOWN: Final = dict.fromkeys([*range(32), *range(127, 160)], "\N{REPLACEMENT CHARACTER}") | {
    ord("\n"): "\n",
    ord("\t"): "\t",
}


@click.command()
@click.option("--speech/--no-speech", default=True, help="Whether replies are spoken as well.")
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False),
    help="A file for the speech of all replies (.wav, .mp3, .flac or .ogg).",
)
@click.option(
    "--history",
    type=click.Path(dir_okay=False, path_type=Path),
    help="A file to go on from, where it exists, and to keep the conversation in.",
)
@settings_options("llm", "tts", "voice", "language", "device", "system")
@json_option
def chat(
    speech: bool, output: str | None, history: Path | None, as_json: bool, **choices: Any
) -> int:
    """Talk in text: each line is answered, in text and, where there is a speaker, aloud.

    Ctrl-C interrupts a reply; at the prompt, it leaves, as does Ctrl-D. /help tells of commands.
    Works in a pipe too. With --json nothing is played, and each turn is an object on a line.
    """
    if output is not None:
        if not speech:
            raise click.UsageError("--output is for speech, which --no-speech leaves out.")
        _require_writable(output)  # before anything is fetched, loaded or said
    past = None if history is None else _read(history)
    usable = players() if speech and not as_json else ()
    if not usable and output is None:
        choices["tts"] = None
        if speech and not as_json:
            err.print("No speaker was found, so replies come as text.")
    with fetch_bars() as progress:
        conversation = Conversation(stt=None, history=past, progress=progress, **choices)
        conversation.load()
    with conversation, contextlib.ExitStack() as files:
        return _Chat(conversation, usable, output, history, as_json, files).run()


class _Chat:
    """A chat: where its lines come from, and where its replies go."""

    def __init__(
        self,
        conversation: Conversation,
        usable: Sequence[Player],
        output: str | None,
        history: Path | None,
        as_json: bool,
        files: contextlib.ExitStack,
    ) -> None:
        self._conversation = conversation
        self._players = list(usable)
        self._output = output
        self._file: AudioWriter | None = None  # made with the first sound that goes into it
        self._files = files
        self._history = history
        self._as_json = as_json
        self._has_people = sys.stdin is not None and sys.stdin.isatty() and not as_json
        self._failures = 0

    def run(self) -> int:
        """Answer every line; the status is 1 where a program wrote them and one failed."""
        if self._has_people:
            self._greet()
        for line in _lines(self._has_people):
            if line == "/quit":
                break
            if line.startswith("/"):
                self._guarded(line, self._obey)
            elif line:
                self._guarded(line, self._answer)
                self._guarded(line, self._remember)
        return 1 if self._failures and not self._has_people else 0

    def _greet(self) -> None:
        backends = [self._conversation.backends.get(stage) for stage in ("llm", "tts")]
        names = [f"{b.name} {b.model or ''}".strip() for b in backends if b is not None]
        text = f"You talk with {' and '.join(names)}; /help says what else there is."
        err.print(Text(text, style="dim"), soft_wrap=True)

    def _guarded(self, line: str, act: Callable[[str], None]) -> None:
        """Let a failure be one sentence, and the chat go on."""
        try:
            act(line)
        except EvakitError as error:
            self._failures += 1
            if self._as_json:
                print_json({"said": line, "error": str(error)})
            else:
                err.print(f"Error: {error}", soft_wrap=True)

    def _obey(self, line: str) -> None:
        """Carry out a command."""
        command, _, value = line.removeprefix("/").partition(" ")
        if command == "help":
            err.print(_HELP, soft_wrap=True)
        elif command in {"voice", "language", "system"}:
            if command == "voice" and "tts" not in self._conversation.backends:
                raise ConfigurationError("Nothing is spoken in this chat, so it has no voice.")
            choice: Any = from_text(command, value, place=f"/{command}") if value else None
            change: dict[str, Any] = {command: choice}
            self._conversation.configure(**change)
        else:
            raise ConfigurationError(
                f"There is no command /{command}; /help names those that there are."
            )

    def _answer(self, line: str) -> None:
        """Run a turn; show and play its reply while it comes."""
        turn, has_begun = self._conversation.turn(line), False
        try:
            with turn, self._playback() as playback, self._shown() as shown:
                has_begun = True
                try:
                    self._follow(turn, playback, shown)
                except KeyboardInterrupt:
                    if playback is not None:
                        turn.played(playback.played)
        except KeyboardInterrupt:  # once more, or before the first word
            if not has_begun:
                return
        if self._as_json:
            print_json(_as_json(line, turn.reply))
        elif self._has_people:
            about = f"{'interrupted, ' if turn.reply.interrupted else ''}{turn.reply.timings}"
            err.print(Text(about, style="dim"))

    def _follow(self, turn: Turn, playback: Playback | None, shown: _Shown | None) -> None:
        for event in turn:
            match event:
                case TokenGenerated(text) if shown is not None:
                    shown.add(text)
                case AudioReady(audio):
                    self._keep(audio)
                    if playback is not None:
                        playback.add(audio)
        if playback is not None and not playback.finish():
            del self._players[0]
            if not self._players:
                err.print("The speaker cannot be used; from now on replies come as text.")

    def _shown(self) -> contextlib.AbstractContextManager[_Shown | None]:
        return contextlib.nullcontext() if self._as_json else _Shown(self._has_people)

    def _playback(self) -> contextlib.AbstractContextManager[Playback | None]:
        return Playback(self._players[0]) if self._players else contextlib.nullcontext()

    def _keep(self, audio: Audio) -> None:
        """Append to the file of the replies' speech, which is made when there is some."""
        if self._output is not None and len(audio):
            if self._file is None:
                self._file = self._files.enter_context(AudioWriter(self._output))
            self._file.write(audio)

    def _remember(self, _line: str) -> None:
        """Put the history into its file, whole or not at all."""
        if self._history is None:
            return
        path = self._history.resolve()  # what a link leads to is replaced, and not the link
        try:
            with tempfile.NamedTemporaryFile(
                "w", encoding="utf-8", dir=path.parent, prefix=f".{path.name}.", delete=False
            ) as file:
                try:
                    file.write(self._conversation.history.to_json() + "\n")
                    file.close()
                    Path(file.name).replace(path)
                except BaseException:
                    Path(file.name).unlink(missing_ok=True)
                    raise
        except OSError as error:
            raise StorageError(
                f"The history {self._history} cannot be written ({error.strerror or error}); "
                "free some space, or choose another file."
            ) from error


class _Shown:
    """A reply's text as it comes; leaving the block ends its line."""

    def __init__(self, has_people: bool) -> None:
        self._has_people = has_people
        self._has_begun = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._has_begun:
            out.print()

    def add(self, text: str) -> None:
        """Show a piece."""
        text = text if self._has_begun else text.lstrip()
        if not text:
            return
        if not self._has_begun and self._has_people:
            out.print(_label("Reply:"), end=" ")
        self._has_begun = True
        click.echo(text.translate(_SHOWN), nl=False)  # as it is: Rich would expand its tabs


def _lines(has_people: bool) -> Iterator[str]:
    """Yield what is written, until its end or Ctrl-C."""
    if sys.stdin is None:
        return
    if isinstance(sys.stdin, io.TextIOWrapper):
        sys.stdin.reconfigure(errors="replace")
    read = sys.stdin.readline
    if has_people:
        with contextlib.suppress(ImportError):  # editing and earlier lines, where Python has it
            import readline  # noqa: F401, PLC0415
        read = _read_line
    try:
        while line := read():
            yield line.strip()
    except KeyboardInterrupt:
        pass
    if has_people:
        err.print()


def _read_line() -> str:
    """Read a line of a person."""
    if not sys.stdout.isatty():  # where `input` would write its prompt
        err.print("You:", end=" ")
        return sys.stdin.readline()
    try:
        return input("You: ") + "\n"
    except EOFError:
        return ""


def _read(path: Path) -> History | None:
    """Return the history in a file, which may still be to come."""
    if not os.access(path.resolve().parent, os.W_OK):
        raise StorageError(
            f"The history {path} could not be written (its folder is missing or read-only); "
            "choose another file."
        )
    try:
        # Looked at first: opening a pipe would wait for whoever writes into it.
        if not stat.S_ISREG(path.stat().st_mode):
            raise ConfigurationError(f"The history {path} is no regular file; choose another file.")
        with path.open("rb") as file:
            data = file.read(_LARGEST_HISTORY + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _unreadable(path, error) from error
    if len(data) > _LARGEST_HISTORY:
        raise ConfigurationError(
            f"The history {path} is larger than {_LARGEST_HISTORY >> 20} MiB; choose another file."
        )
    try:
        return History.from_json(data.decode("utf-8"))
    except (UnicodeDecodeError, ConfigurationError) as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: Exception) -> ConfigurationError:
    return ConfigurationError(f"The history {path} cannot be read ({error}); choose another file.")


def _as_json(line: str, reply: Reply) -> dict[str, Any]:
    return {
        "said": line,
        "reply": reply.text,
        "played": reply.played,
        "interrupted": reply.interrupted,
        "speech_s": None if reply.audio is None else round(reply.audio.duration, 3),
        "timings": _timings(reply.timings),
    }
