"""Language tags to Whisper's codes and back.

What may not live here: which languages a particular model knows (it says so itself).
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from evakit.errors import UnknownLanguageError

__all__ = ["code_of", "tag_of", "writes_spaces"]

# Tags whose first part is not the code that Whisper was trained with: other spellings of the
# same language (IANA language subtag registry), and two names that Whisper took from elsewhere.
_CODES: Final = {
    "cmn": "zh",
    "fil": "tl",
    "in": "id",
    "iw": "he",
    "ji": "yi",
    "jv": "jw",
    "mo": "ro",
    "nb": "no",
}
_WITHOUT_SPACES: Final = frozenset({"bo", "ja", "km", "lo", "my", "th", "yue", "zh"})


def code_of(tag: str, known: Collection[str], backend: str) -> str:
    """Return Whisper's code for a language tag: `fr` for `fr`, `fr-CA` and `FR_ca`.

    Raises:
        UnknownLanguageError: it is not among the codes in `known`.

    """
    primary, _, rest = tag.lower().replace("_", "-").partition("-")
    code = _CODES.get(primary, primary)
    if code == "zh" and rest.startswith("yue"):
        code = "yue"
    if code in known:
        return code
    if set(known) == {"en"}:
        raise UnknownLanguageError(
            f"{backend} knows English only, not {tag!r}; choose a model without '.en' in its name."
        )
    raise UnknownLanguageError(
        f"{backend} does not know the language {tag!r}; "
        "write a tag such as 'en' or 'fr', or none to have it detected."
    )


def tag_of(code: str) -> str:
    """Return the language tag for Whisper's code."""
    return "jv" if code == "jw" else code


def writes_spaces(code: str) -> bool:
    """Say whether the language puts spaces between words."""
    return code not in _WITHOUT_SPACES
