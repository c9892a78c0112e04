"""The file `evakit.toml`: where it is, what it holds, and on which line.

What may not live here: which settings there are, and what they mean.
"""

from __future__ import annotations

import os
import re
import stat
import tomllib
from collections.abc import Mapping
from typing import Any, Final

from attrs import field, frozen

from .errors import ConfigurationError

__all__ = ["FILE_NAME", "VARIABLE", "SettingsFile", "find_file"]

FILE_NAME: Final = "evakit.toml"
"""Looked for in the current folder."""
VARIABLE: Final = "EVAKIT_CONFIG"
"""The environment variable that names another file; set and empty, none is read."""

_LARGEST: Final = 65_536  # bytes; many times a long system prompt, and read within milliseconds
_AT: Final = re.compile(r"(?P<what>.*) \(at (?P<where>.*)\)", re.DOTALL)


@frozen
class SettingsFile:
    """What stands in a file of settings."""

    path: str
    """Absolute."""
    text: str = field(repr=False)
    values: Mapping[str, Any] = field(repr=False)
    """Its keys and tables, as TOML has them."""

    def place(self, key: str) -> str:
        """Say where `key` stands, for people: the file, and the line where it is known."""
        line = self._line(key)
        return self.path if line is None else f"{self.path}, line {line}"

    def _line(self, key: str) -> int | None:
        """Return the first line of a key or table of the top level.

        tomllib does not tell. A line that looks right is right if the lines before it are TOML
        by themselves (so it does not stand within a text or list), and another key in its place
        would belong to the top level.
        """
        name = f"(?:{re.escape(key)}|'{re.escape(key)}'|\"{re.escape(key)}\")"
        looks_right = re.compile(rf"[ \t]*(?P<table>\[\[?)?[ \t]*{name}[ \t]*[]=.]")
        probe = "evakit-probe"
        lines = self.text.split("\n")
        for number, line in enumerate(lines):
            if found := looks_right.match(line):
                before = "\n".join(lines[:number])
                try:
                    data = tomllib.loads(f"{before}\n{'' if found['table'] else f'{probe} = 0'}")
                except tomllib.TOMLDecodeError:
                    continue
                if found["table"] or probe in data:
                    return number + 1
        return None


def find_file() -> SettingsFile | None:
    """Return the file that `EVAKIT_CONFIG` names, else `evakit.toml` of the current folder.

    Raises:
        ConfigurationError: it cannot be read, is no TOML, or is named and missing.

    """
    named = os.environ.get(VARIABLE)
    if named is None:
        return _read(FILE_NAME, named=False)
    # Not Path.expanduser, which fails for an unknown user.
    return _read(os.path.expanduser(named), named=True) if named else None  # noqa: PTH111


def _read(path: str, *, named: bool) -> SettingsFile | None:
    try:
        # Looked at first: opening a pipe would wait for whoever writes into it.
        mode = os.stat(path).st_mode  # noqa: PTH116 (the folder may be gone, and with it its path)
    except FileNotFoundError:
        if named:
            raise ConfigurationError(
                f"{VARIABLE} names {path}, which is not there; name a file of settings, or set it "
                "to nothing to use none."
            ) from None
        if not os.path.islink(path):  # noqa: PTH114
            return None
        raise ConfigurationError(
            f"{_absolute(path)} is a link to a file that is not there; "
            "remove the link or put the file there."
        ) from None
    except PermissionError as error:
        if not named:  # a folder that may not be looked into is nobody's place for settings
            return None
        raise _unreadable(path, error) from error
    except OSError as error:
        raise _unreadable(path, error) from error
    if not stat.S_ISREG(mode) and path != os.devnull:
        what = "a folder" if stat.S_ISDIR(mode) else "not a file that can be read twice"
        raise ConfigurationError(
            f"{_absolute(path)} is {what}; settings stand in a TOML file. {VARIABLE} names another."
        )
    try:
        with open(path, "rb") as file:  # noqa: PTH123
            data = file.read(_LARGEST + 1)
    except OSError as error:
        raise _unreadable(path, error) from error
    return _parse(_absolute(path), data)


def _parse(path: str, data: bytes) -> SettingsFile:
    if len(data) > _LARGEST:
        raise ConfigurationError(
            f"{path} is larger than {_LARGEST // 1024} KiB, which no settings are; "
            f"{VARIABLE} names another file."
        )
    try:
        text = data.decode("utf-8-sig")  # some editors begin a file with a mark
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ConfigurationError(
            f"{path}, line {line}: this is not UTF-8; save the file as UTF-8."
        ) from None
    try:
        # Ended, so that the line is told of what is wrong in the last one.
        return SettingsFile(path, text, tomllib.loads(f"{text}\n"))
    except RecursionError:
        raise ConfigurationError(f"{path} is nested too deeply to be read.") from None
    except ValueError as error:  # TOMLDecodeError, or a number of thousands of digits
        found = _AT.fullmatch(str(error))
        where, what = (f", {found['where']}", found["what"]) if found else ("", error)
        raise ConfigurationError(f"{path}{where}: this is not TOML ({what}); correct it.") from None


def _absolute(path: str) -> str:
    try:
        return os.path.abspath(path)  # noqa: PTH100 (Path.absolute keeps `..`)
    except OSError:  # the current folder is gone
        return path


def _unreadable(path: str, error: OSError) -> ConfigurationError:
    return ConfigurationError(
        f"{_absolute(path)} cannot be read ({error.strerror or error}); allow access, or let "
        f"{VARIABLE} name another file."
    )
