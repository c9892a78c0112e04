"""Voice: a name that people choose, the language it speaks, and what can speak it.

What may not live here: audio, model files, or the list of voices (plugins declare them).
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from typing import Any, Final

from attrs import Attribute, field, frozen

from .errors import ConfigurationError, UnknownLanguageError

__all__ = ["Voice", "VoiceStyle", "normalize_language", "normalize_languages", "same_language"]

_TAG = re.compile(r"[a-z]{2,3}([-_][a-z0-9]{2,8})*", re.IGNORECASE | re.ASCII)

_SUCH_AS: Final = "write one such as 'en', 'fr' or 'en-GB'."


def normalize_language(tag: str) -> str:
    """Return a language tag in the form of RFC 5646: `FR` -> `fr`, `en_us` -> `en-US`.

    Raises:
        UnknownLanguageError: `tag` does not read like a language tag.

    """
    if not isinstance(tag, str):
        raise UnknownLanguageError(f"A language tag is text, not {type(tag).__name__}; {_SUCH_AS}")
    if not _TAG.fullmatch(tag):
        raise UnknownLanguageError(f"{tag!r} is not a language tag; {_SUCH_AS}")
    first, *rest = tag.replace("_", "-").split("-")
    return "-".join([first.lower(), *(p.upper() if len(p) == 2 else p.title() for p in rest)])  # noqa: PLR2004 (a region has two letters)


def normalize_languages(language: str | Iterable[str] | None) -> tuple[str, ...]:
    """Return one tag, several or none (any language) as tags in the form of RFC 5646.

    Raises:
        UnknownLanguageError: one does not read like a language tag, or it is no list of them.

    """
    if language is None:
        return ()
    tags = (language,) if isinstance(language, str) else language
    if not isinstance(tags, Iterable) or isinstance(tags, bytes):
        raise UnknownLanguageError(
            f"Languages are a tag or a list of tags, not {type(language).__name__}; {_SUCH_AS}"
        )
    return tuple(normalize_language(tag) for tag in tags)


def same_language(one: str, other: str) -> bool:
    """Say whether two tags name one language, whatever the region: `en-US` and `en` do."""
    return _primary(one) == _primary(other)


def _primary(tag: str) -> str:
    return tag.replace("_", "-").split("-")[0].lower()


def _amount(_style: object, attribute: Attribute[Any], value: Any) -> None:
    if value is None and attribute.default is None:
        return
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not 0 <= value < math.inf or (value == 0 and attribute.name == "rate"):
        raise ConfigurationError(
            f"A voice's {attribute.name} is a positive number, not {value!r}; "
            f"{attribute.default} leaves the voice as it is."
        )


@frozen(kw_only=True)
class VoiceStyle:
    """How a voice speaks; every field at its default leaves the voice as it was recorded."""

    rate: float = field(default=1.0, validator=_amount)
    """Speaking rate; above 1 is faster."""
    variation: float | None = field(default=None, validator=_amount)
    """Liveliness of the intonation from 0 (flat) to about 1; None is the voice's own."""
    volume: float = field(default=1.0, validator=_amount)
    """Gain applied to the samples; 1 leaves them as they are."""


@frozen(kw_only=True)
class Voice:
    """A named speaker that a TTS backend can use."""

    name: str
    """What people write: `joe`."""
    language: str = field(converter=normalize_language)
    """Language tag, such as `en-US`."""
    model: str | None = None
    """The name of the model whose files it needs; None when it needs none."""
    style: VoiceStyle = VoiceStyle()
    licence: str | None = None
    """SPDX identifier of the voice's own licence; None when it is not known."""
    description: str = ""
    """One line for a list of voices."""

    def speaks(self, language: str) -> bool:
        """Say whether the voice speaks `language`, whatever the region."""
        return same_language(self.language, language)
