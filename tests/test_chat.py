"""Message and History: values that round-trip."""

from __future__ import annotations

import json
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evakit.chat import History, Message, Role, ToolCall
from evakit.errors import ConfigurationError
from evakit.testing import strategies as make


@given(make.histories())
def test_a_history_survives_json(history):
    assert History.from_json(history.to_json()) == history
    assert history.to_json().encode()


@given(make.histories(interrupted=st.just(value=False)))
def test_a_history_survives_the_form_of_openai(history):
    assert History.from_openai(history.to_openai()) == history


@given(make.histories())
def test_what_goes_to_a_server_is_plain_and_knows_no_further_keys(history):
    entries = history.to_openai()
    assert json.loads(json.dumps(entries)) == entries
    known = {"role", "content", "name", "tool_calls", "tool_call_id"}
    assert all({"role", "content"} <= entry.keys() <= known for entry in entries)


@given(make.histories(), make.messages())
def test_appending_makes_a_longer_history_and_leaves_this_one(history, message):
    before = list(history)
    longer = history.append(message)
    assert list(history) == before
    assert list(longer) == [*before, message]
    assert longer[:-1] == history
    assert longer[-1] == message
    assert len(longer) == len(history) + 1


@given(make.histories())
def test_histories_are_values(history):
    twin = pickle.loads(pickle.dumps(history))  # noqa: S301 (our own bytes)
    assert twin == history
    assert hash(twin) == hash(history)


def test_json_is_for_people_too():
    history = History(
        [Message("user", "Où es-tu ?"), Message("assistant", "Ici", interrupted=True)]
    )
    assert json.loads(history.to_json()) == [
        {"role": "user", "content": "Où es-tu ?"},
        {"role": "assistant", "content": "Ici", "interrupted": True},
    ]
    assert "Où" in history.to_json()


def test_a_history_takes_messages_and_dictionaries_alike():
    mixed = History([{"role": "user", "content": "Hello"}, Message(Role.ASSISTANT, "Hi")])
    assert [m.role for m in mixed] == [Role.USER, Role.ASSISTANT]
    assert mixed[0] == Message("user", "Hello")


def test_what_openai_servers_take_is_kept_as_it_is():
    entries = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "What time is it?", "name": "Ada"},
        {
            "role": "assistant",
            "content": "",
            "tool_calls": [
                {"id": "1", "type": "function", "function": {"name": "now", "arguments": "{}"}}
            ],
        },
        {"role": "tool", "content": "Noon.", "tool_call_id": "1"},
        {"role": "assistant", "content": "It is noon."},
    ]
    assert History.from_openai(entries).to_openai() == entries
    assert History.from_json(json.dumps(entries)).to_openai() == entries


def test_the_forms_of_openai_that_mean_the_same_are_the_same():
    history = History(
        [
            {"role": "developer", "content": [{"type": "text", "text": "Be "}, {"text": "brief."}]},
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [{"id": "1", "function": {"name": "now", "arguments": "{}"}}],
            },
        ]
    )
    assert history[0] == Message("system", "Be brief.")
    assert history[1] == Message("assistant", "", tool_calls=[ToolCall("1", "now", "{}")])


def test_messages_do_not_change():
    with pytest.raises(AttributeError):
        Message("user", "Hello").content = "Bye"


def test_an_empty_name_is_no_name():
    assert Message("user", "Hello", name="").name is None


@pytest.mark.parametrize(
    ("make_it", "sentence"),
    [
        (
            lambda: Message("robot", "Hello"),
            "A message cannot have the role 'robot'; use one of system, user, assistant, tool.",
        ),
        (lambda: Message([], "Hello"), "A message cannot have the role []; use one of "),
        (lambda: Message("user", None), "A message's content is text, not NoneType; pass a str."),
        (lambda: Message("user", b"Hi"), "A message's content is text, not bytes; pass a str."),
        (lambda: Message("user", "Hi", name=3), "A message's name is text, not int; pass a str"),
        (
            lambda: Message("user", "Hi", interrupted="no"),
            "A message's 'interrupted' is true or false, not 'no'; pass a bool.",
        ),
        (lambda: History([{"role": "user"}]), "A message is a mapping with 'role' and 'content'"),
        (lambda: History(["Hello"]), "such as {'role': 'user', 'content': 'Hello'}, not 'Hello'."),
        (
            lambda: History.from_openai([{"role": "user", "content": [{"type": "text"}]}]),
            "A message's content has a part that is no text ('text'); leave it out",
        ),
        (
            lambda: History([{"role": "user", "content": [{"type": "image_url", "image_url": 1}]}]),
            "A message's content has a part that is no text ('image_url'); leave it out",
        ),
        (
            lambda: History([{"role": "assistant", "tool_calls": ["now"]}]),
            "A tool call is a mapping with 'id' and 'function', which has 'name' and 'arguments'",
        ),
        (
            lambda: History([{"role": "assistant", "tool_calls": "now"}]),
            "A message's tool calls are a list, not 'now'.",
        ),
        (lambda: ToolCall("1", "now", {}), "A tool call's arguments is text, not dict; pass a str"),
        (lambda: Message("tool", "", tool_call_id=3), "A message's tool_call_id is text, not int"),
        (lambda: History.from_json("Hello"), "This is not a saved history (JSON: Expecting value"),
        (lambda: History.from_json("[" * 100_000), "This is not a saved history (JSON: "),
        (lambda: History.from_json('{"a": 1}'), "A saved history is a JSON array of messages"),
        (lambda: History.from_json("[1]"), "A message is a mapping with 'role' and 'content'"),
        (
            lambda: History.from_json('[{"role":"user","content":"a","interrupted":"false"}]'),
            "A message's 'interrupted' is true or false, not 'false'; pass a bool.",
        ),
    ],
)
def test_what_is_no_message_is_refused_with_a_sentence(make_it, sentence):
    with pytest.raises(ConfigurationError) as caught:
        make_it()
    assert sentence in str(caught.value)


@given(st.text())
def test_a_damaged_file_gives_a_history_or_a_configuration_error(text):
    try:
        assert isinstance(History.from_json(text), History)
    except ConfigurationError as error:
        assert str(error)  # noqa: PT017 (it need not be raised)
