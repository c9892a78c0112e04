"""Settings of pip and uv that make them prefer wheels for the CPU.

`2.13.0+cpu` counts as newer than `2.13.0`, so whatever shows a `+cpu` wheel to an installer gets
it installed: an index of PyTorch's CPU wheels, or a folder that holds some. What may not live
here: asking pip, uv or an index.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Generator, Mapping
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

from .site_packages import read_start

__all__ = ["cpu_settings", "without_credentials"]

_VARIABLES: Final = (
    "PIP_INDEX_URL",
    "PIP_EXTRA_INDEX_URL",
    "PIP_FIND_LINKS",
    "UV_DEFAULT_INDEX",
    "UV_INDEX",
    "UV_INDEX_URL",
    "UV_EXTRA_INDEX_URL",
    "UV_FIND_LINKS",
    "UV_TORCH_BACKEND",
)
# The places of CPU wheels: download.pytorch.org/whl/cpu, its nightly and test ones, and those of
# projects that follow it.
_CPU_INDEX: Final = re.compile(r"/whl/(?:nightly/|test/)?cpu\b")
_KEY: Final = re.compile(r"\s*([A-Za-z][\w-]*)\s*=")
_WORD: Final = re.compile(r"[^\s,;'\"\[\]{}]+")
_LONGEST: Final = 1 << 20


def cpu_settings(
    environ: Mapping[str, str] = os.environ,
    *,
    folder: Path | None = None,
    prefix: Path | None = None,
    root: Path = Path("/"),
    system: str = sys.platform,
) -> tuple[str, ...]:
    """Return the settings that prefer CPU wheels: `PIP_FIND_LINKS=/srv/wheels`.

    Looked at are the variables of pip and uv, and their files: the machine's, the user's, those of
    the environment `prefix`, and those of the project around `folder`. Credentials are hidden.
    """
    folder = folder or _here()
    prefix = prefix or Path(sys.prefix)
    found: list[str] = []
    for name in _VARIABLES:
        key = name.partition("_")[2].lower().replace("_", "-")
        words = _preferring_cpu(key, environ.get(name, ""), folder)
        found.extend(f"{name}={without_credentials(word)}" for word in words)
    for file in _files(environ, folder=folder, prefix=prefix, root=root, system=system):
        text = read_start(file, _LONGEST)
        if text is not None:
            lines = _lines(text.decode(errors="replace"), file.parent)
            found.extend(f"{file}: {key} = {without_credentials(word)}" for key, word in lines)
    return tuple(dict.fromkeys(found))


def without_credentials(text: str) -> str:
    """Return `text` with the user, the password and the query of an address hidden."""
    return re.sub(r"\?.*", "?***", re.sub(r"://[^/\s]*@", "://***@", text))


def _here() -> Path:
    try:
        return Path.cwd()
    except FileNotFoundError:
        return Path(os.sep)  # the folder was removed under this process: there is no project


def _lines(text: str, folder: Path) -> Generator[tuple[str, str]]:
    """Yield what prefers CPU wheels in a file of pip's, or a TOML file, by the key it stands at."""
    key = ""
    for line in text.splitlines():
        if line.lstrip().startswith(("#", ";")):
            continue
        if match := _KEY.match(line):
            key = match[1]
        rest = line[match.end() :] if match else line
        for word in _preferring_cpu(key.replace("_", "-"), rest, folder):
            yield key, word


def _preferring_cpu(key: str, value: str, folder: Path) -> Generator[str]:
    for word in _WORD.findall(value):
        if (
            (key == "torch-backend" and word == "cpu")
            or _CPU_INDEX.search(word)
            or (key == "find-links" and _holds_cpu_wheels(word, folder))
        ):
            yield word


def _holds_cpu_wheels(place: str, folder: Path) -> bool:
    """Say whether `place` is a folder with `+cpu` wheels in it."""
    try:
        if place.startswith("file:"):
            place = re.sub(r"^/([A-Za-z]:)", r"\1", unquote(urlsplit(place).path))  # /C:/wheels
        elif "://" in place:
            return False
        names = os.listdir(folder / Path(place).expanduser())  # noqa: PTH208 (names only)
    except (OSError, ValueError, RuntimeError):
        return False  # not there, no name that a file can have, or of a user who has no home
    return any("+cpu" in name and name.endswith(".whl") for name in names)


def _files(
    environ: Mapping[str, str], *, folder: Path, prefix: Path, root: Path, system: str
) -> Generator[Path]:
    """Yield where pip and uv look for settings, those that are not there too.

    https://pip.pypa.io/en/stable/topics/configuration/#location and
    https://docs.astral.sh/uv/concepts/configuration-files/
    """
    pip, machine, user = _folders(environ, root=root, system=system)
    named = environ.get("PIP_CONFIG_FILE")
    if named != os.devnull:  # which stands for no files at all
        yield from (one / pip for one in (*machine, *user, prefix))
        if named:
            yield Path(named)
    if environ.get("UV_CONFIG_FILE"):
        yield Path(environ["UV_CONFIG_FILE"])
    elif not environ.get("UV_NO_CONFIG"):
        # Beside pip's folder, or in `/etc`, which has pip's file without a folder of its own.
        tops = (one.parent if one.name == "pip" else one for one in (*machine, *user))
        yield from (top / "uv/uv.toml" for top in tops)
        for parent in (folder, *folder.parents):
            yield parent / "uv.toml"
            yield parent / "pyproject.toml"


def _folders(
    environ: Mapping[str, str], *, root: Path, system: str
) -> tuple[str, list[Path], list[Path]]:
    """Return the name of pip's files, and the folders where the machine and the user have them."""
    home = Path(environ.get("HOME") or environ.get("USERPROFILE") or root)
    if system == "win32":
        machine = Path(environ.get("PROGRAMDATA") or root / "ProgramData")
        user = Path(environ.get("APPDATA") or home / "AppData/Roaming")
        return "pip.ini", [machine / "pip"], [home / "pip", user / "pip"]
    shared = environ.get("XDG_CONFIG_DIRS") or str(root / "etc/xdg")
    places = [Path(one, "pip") for one in shared.split(":") if one]
    own = [home / ".pip", Path(environ.get("XDG_CONFIG_HOME") or home / ".config", "pip")]
    if system == "darwin":
        places.append(root / "Library/Application Support/pip")
        own.append(home / "Library/Application Support/pip")
    return "pip.conf", [*places, root / "etc"], own
