"""Test a voice flow without models, keys or waiting: the fixture comes with evakit.

pytest examples/test_without_models.py
"""

from __future__ import annotations

import evakit
from evakit.testing import ScriptedLLM

RECORDING = evakit.Audio([0.5, -0.5] * 8_000, 16_000)  # any sound: the script says what is heard


def answer_machine(conversation: evakit.Conversation) -> str:
    """Greet, listen once and answer: what is tested."""
    conversation.say("You have reached the library.")
    return conversation.respond(RECORDING).text


def test_a_caller_is_told_the_hours(evakit_conversation):
    """The flow from what is heard to what the model is asked."""
    llm = ScriptedLLM("Until six.")
    with evakit_conversation("How long are you open?", llm=llm) as conversation:
        assert answer_machine(conversation) == "Until six."
    assert llm.requests[0].text == "How long are you open?"
