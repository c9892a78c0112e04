"""`evakit new-plugin`: a plugin distribution that works as it stands, to put an engine into.

What it is made of stands in `templates/`, a file of the plugin each. What may not live here: what
a plugin has to do, which the conformance suites say.
"""

from __future__ import annotations

import importlib.metadata
import re
import shutil
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Final

import click
from attrs import frozen

from .. import registry
from ..errors import ConfigurationError, StorageError
from ..plugins import discover
from . import group
from .console import json_option, out, print_json

__all__ = ["new_plugin"]

_NAME: Final = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
_LONGEST: Final = 40  # characters; a name is part of the names of files and folders


@frozen
class _Kind:
    """What differs from kind to kind, beside the engine and its tests."""

    what: str
    usage: str
    try_it: str
    requires: str = '"evakit-voice", "numpy"'


_KINDS: Final = {
    "stt": _Kind(
        "Speech to text",
        "import evakit\n\n"
        'with evakit.Conversation(stt="$name", llm=None, tts=None) as conversation:\n'
        '    print(conversation.respond(evakit.Audio.load("question.wav")).heard)',
        "evakit transcribe question.wav --stt $name",
    ),
    "llm": _Kind(
        "Replies",
        "import evakit\n\n"
        'with evakit.Conversation(stt=None, llm="$name", tts=None) as conversation:\n'
        '    print(conversation.respond("Hello!").text)',
        "evakit chat --no-speech --llm $name",
        requires='"evakit-voice"',
    ),
    "tts": _Kind(
        "Text to speech",
        "import evakit\n\n"
        'with evakit.Conversation(stt=None, tts="$name") as conversation:\n'
        '    conversation.respond("Hello!").audio.save("hello.wav")',
        'evakit say "Hello!" -o hello.wav --tts $name',
    ),
    "vad": _Kind(
        "Voice activity detection",
        'from evakit.plugins import discover\n\nvad = discover().get("vad", "$name").create()',
        "evakit plugins",
    ),
    "turn_detector": _Kind(
        "Turn detection",
        "from evakit.plugins import discover\n\n"
        'detector = discover().get("turn_detector", "$name").create()',
        "evakit plugins",
        requires='"evakit-voice"',
    ),
}


@click.command("new-plugin")
@click.argument("name")
@click.option(
    "--kind",
    type=click.Choice(list(_KINDS)),
    default="tts",
    show_default=True,
    help="What its backend does.",
)
@click.option(
    "--folder",
    type=click.Path(file_okay=False, path_type=Path),
    default=".",
    help="Where its folder, evakit-NAME, is made. [default: here]",
)
@json_option
def new_plugin(name: str, kind: str, folder: Path, as_json: bool) -> None:
    """Write the distribution of a plugin, evakit-NAME, with a backend called NAME.

    It works as it stands, and its tests pass; put your engine in the place of the small one.
    """
    name = _checked(name, kind)
    target = folder / f"evakit-{name}"
    written = _write(target, _contents(name, kind))
    try_it = Template(_KINDS[kind].try_it).substitute(name=name)
    steps = [
        f"cd {target}",
        "python -m pip install --editable . --group test",
        "python -m pytest",
        try_it,
    ]
    if as_json:
        print_json(
            {
                "distribution": f"evakit-{name}",
                "kind": kind,
                "backend": name,
                "folder": str(target),
                "files": written,
                "next": steps,
            }
        )
        return
    out.print(f"The plugin evakit-{name} is in {target}:", soft_wrap=True)
    for file in written:
        out.print(f"  {file}", soft_wrap=True)
    out.print("Next:")
    for step in steps:
        out.print(f"  {step}", soft_wrap=True)
    out.print("Then put your engine into it, and choose a licence; its README says where.")


def _checked(name: str, kind: str) -> str:
    """Return the name in the form that package indexes compare.

    Raises:
        ConfigurationError: it cannot be the name of a plugin, or is one's already.

    """
    short = re.sub(r"[-_.]+", "-", name).lower().removeprefix("evakit-")
    if not _NAME.fullmatch(short) or len(short) > _LONGEST:
        raise ConfigurationError(
            f"{name!r} cannot be a plugin's name; use letters, digits and single hyphens, with a "
            f"letter first and at most {_LONGEST} characters, such as 'my-voice'."
        )
    if short == "evakit":
        raise ConfigurationError("A plugin cannot be called evakit too; choose another name.")
    for spec in discover():
        if (spec.kind, spec.name) == (kind, short):
            raise ConfigurationError(
                f"There is a {kind} named {short!r} already, of "
                f"{spec.distribution or 'this program'}; choose another name."
            )
    if f"evakit-{short}" in _taken():
        raise ConfigurationError(
            f"There is a distribution evakit-{short} already; choose another name."
        )
    return short


def _taken() -> set[str]:
    """Return the names of installed distributions, and of ours that need not be."""
    installed = {
        registry._canonical_name(found.name)
        for found in importlib.metadata.distributions()
        if found.name  # damaged metadata may lack it
    }
    return installed | {*registry._KNOWN.values(), *group._KNOWN.values()}


def _contents(name: str, kind: str) -> dict[str, str]:
    """Return the files of the plugin, by their paths in its folder."""
    of_kind, module = _KINDS[kind], f"evakit_{name.replace('-', '_')}"
    values = {
        "name": name,
        "module": module,
        "what": of_kind.what,
        "dependencies": of_kind.requires,
        "usage": Template(of_kind.usage).substitute(name=name),
    }
    templates = files(__package__) / "templates"

    def filled(template: str) -> str:
        text = (templates / f"{template}.txt").read_text("utf-8")
        return Template(text).substitute(values)

    return {
        ".gitignore": filled("gitignore"),
        "README.md": filled("README.md"),
        "pyproject.toml": filled("pyproject.toml"),
        f"src/{module}/__init__.py": filled(f"{kind}.py"),
        f"src/{module}/py.typed": "",
        f"tests/test_{module.removeprefix('evakit_')}.py": filled(f"test_{kind}.py"),
    }


def _write(target: Path, contents: dict[str, str]) -> list[str]:
    """Write all of it into a folder that is new, or nothing.

    Raises:
        ConfigurationError: there is something where the folder would be.
        StorageError: it cannot be written.

    """
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.mkdir()
    except FileExistsError:
        raise ConfigurationError(
            f"{target} is there already and is left as it is; choose another name or --folder."
        ) from None
    except OSError as error:
        raise _not_written(target, error) from error
    try:
        for file, text in contents.items():
            path = target / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, "utf-8", newline="\n")
    except BaseException as error:
        shutil.rmtree(target, ignore_errors=True)
        if isinstance(error, OSError):
            raise _not_written(target, error) from error
        raise
    return list(contents)


def _not_written(target: Path, error: OSError) -> StorageError:
    return StorageError(
        f"{target} cannot be written ({error.strerror or error}); choose another --folder."
    )
