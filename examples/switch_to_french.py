"""Change to French in mid-conversation: ears, voice and model, by one word.

The model and the voices are small functions and fakes here, which know both languages; with
`tts="piper"` and a model that speaks French, the line with `configure` is the same.

    python examples/switch_to_french.py
"""

from __future__ import annotations

import evakit
from evakit.testing import ToneTTS

ANSWERS = {"en": "Of course, let us speak French.", "fr": "Avec plaisir. De quoi parlons-nous ?"}


def think(request: evakit.abc.LLMRequest) -> str:
    """Answer in the language of the turn."""
    return ANSWERS[request.language or "en"]


with evakit.Conversation(stt=None, llm=think, tts=ToneTTS(), language="en") as conversation:
    print(conversation.respond("Can we speak French?").text)
    conversation.configure(language="fr", system="Réponds en une phrase.")
    print(conversation.respond("Bonjour !").text)
