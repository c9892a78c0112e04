"""One schema and one precedence: argument, environment, evakit.toml, default."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from attrs import fields
from hypothesis import example, given
from hypothesis import strategies as st

import evakit
from evakit import errors, settings
from evakit.settings import SETTINGS, UNSET, Settings, resolve
from evakit.testing.fakes import ScriptedLLM, ScriptedSTT, ToneTTS

from .cli.conftest import install

STAGES = ("stt", "llm", "tts")
HERE = "evakit.toml"


@pytest.fixture(autouse=True)
def _an_empty_folder(tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")


@pytest.fixture
def here():
    """The file, as messages name it."""
    return Path(HERE).resolve()


def write(text, name=HERE):
    Path(name).write_text(text, "utf-8")


def refused(kind=errors.ConfigurationError, **arguments):
    """Check that a stack is refused with one sentence and return it."""
    with pytest.raises(kind) as caught:
        evakit.Stack(**arguments)
    said = str(caught.value)
    assert "\n" not in said
    assert said.endswith((".", "?", ".)", "?)"))
    return said


# What wins

NAMES = st.from_regex(r"[a-z]{2,8}(:[a-z0-9/.@:]{1,8})?", fullmatch=True).filter(
    lambda name: name != "none"  # which is no name
)
OPTIONS = st.dictionaries(
    st.from_regex(r"[a-z_]{1,8}", fullmatch=True).filter(lambda key: key != "name"),
    st.booleans() | st.integers(-9, 9) | st.sampled_from(["", "a 'text'", 'with "quotes"', "é"]),
    min_size=1,
    max_size=3,
)
BACKENDS = st.none() | NAMES | st.builds(lambda n, o: evakit.backend(n, **o), NAMES, OPTIONS)
TAGS = st.lists(st.sampled_from(["en", "fr", "en-US", "de"]), min_size=1, max_size=3).map(tuple)
TEXTS = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=20).filter(
    lambda text: text.lower() != "none"
)
VALUES = st.fixed_dictionaries(
    {},
    optional={
        **dict.fromkeys(STAGES, BACKENDS),
        "voice": st.none() | TEXTS,
        "language": st.just(()) | TAGS,
        "device": st.none() | st.sampled_from(["auto", "cpu", "cuda:1"]),
        "system": st.none() | TEXTS,
    },
)


def toml(value):
    """A value as TOML writes it."""
    if value is None or value == ():
        return '"none"'
    if isinstance(value, tuple):
        return f"[{', '.join(map(toml, value))}]"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007F")
    if isinstance(value, bool | int):
        return json.dumps(value)
    options = [
        f"name = {toml(value.name)}",
        *(f"{k} = {toml(v)}" for k, v in value.options.items()),
    ]
    return f"{{{', '.join(options)}}}"


def text(value):
    """A value as an environment variable has it."""
    if value is None or value == ():
        return "none"
    if isinstance(value, tuple):
        return " , ".join(value)
    return value if isinstance(value, str) else toml(value)


@given(VALUES, VALUES, VALUES)
@example({"llm": None}, {"llm": "one"}, {"llm": evakit.backend("two", temperature=1)})
def test_of_any_sources_that_set_any_settings_the_highest_wins(arguments, variables, file):
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        write("\n".join(f"{name} = {toml(value)}" for name, value in file.items()))
        for name, value in variables.items():
            patch.setenv(f"EVAKIT_{name.upper()}", text(value))
        found = resolve(arguments)

    sources = {"argument": arguments, "environment": variables, "file": file}
    sources["default"] = {name: setting.default for name, setting in SETTINGS.items()}
    for name in SETTINGS:
        expected = [(v[name], source) for source, v in sources.items() if name in v]
        assert [(g.value, g.source) for g in found.given(name)] == expected
        assert getattr(found, name) == expected[0][0]


@given(VALUES)
def test_what_an_option_says_is_what_a_variable_says(values):
    for name, value in values.items():
        assert settings.from_text(name, text(value), place=f"--{name}") == value


def test_the_values_have_one_field_a_setting():
    assert [f.name for f in fields(Settings) if not f.name.startswith("_")] == list(SETTINGS)


def test_nothing_given_gives_the_defaults():
    found = evakit.Stack().settings

    assert {name: getattr(found, name) for name in SETTINGS} == {
        name: setting.default for name, setting in SETTINGS.items()
    }
    assert {found.given(name)[0].source for name in SETTINGS} == {"default"}


def test_none_is_given_and_leaves_a_stage_out():
    write('llm = "parrot"\nvoice = "joe"\nlanguage = "fr"\nsystem = "Be brief."')
    with evakit.Conversation(
        stt=None, llm=None, tts=ToneTTS(), voice=None, language=None, system=None
    ) as conversation:
        assert set(conversation.backends) == {"tts"}
        found = conversation._conversation._stack.settings
    assert (found.voice, found.language) == (None, ())


def test_options_never_go_to_a_name_of_another_source(monkeypatch):
    write('[llm]\nname = "openai:qwen3:4b"\nbase_url = "http://localhost"\n')
    monkeypatch.setenv("EVAKIT_LLM", "llamacpp")

    assert evakit.Stack().settings.llm == "llamacpp"
    monkeypatch.delenv("EVAKIT_LLM")
    expected = evakit.backend("openai:qwen3:4b", base_url="http://localhost")
    assert evakit.Stack().settings.llm == expected


def test_a_file_changes_what_a_conversation_does():
    write('language = ["fr", "en"]\nsystem = "Be brief."\nstt = "none"')
    llm = ScriptedLLM()
    with evakit.Conversation(llm=llm, tts=None) as conversation:
        conversation.respond("hi")

    assert llm.requests[0].messages[0] == evakit.Message("system", "Be brief.")


def test_an_empty_system_prompt_is_none_at_all():
    write('system = ""')
    llm = ScriptedLLM()
    with evakit.Conversation(stt=None, llm=llm, tts=None) as conversation:
        conversation.respond("hi")

    assert [m.role for m in llm.requests[0].messages] == [evakit.Role.USER]


def test_another_file_can_be_named_and_none_at_all(monkeypatch, tmp_path):
    write('voice = "here"')
    write('voice = "there"', tmp_path / "other.toml")

    assert evakit.Stack().voice == "here"
    monkeypatch.setenv("EVAKIT_CONFIG", str(tmp_path / "other.toml"))
    assert evakit.Stack().voice == "there"
    monkeypatch.setenv("EVAKIT_CONFIG", "")
    assert evakit.Stack().voice is None
    monkeypatch.setenv("EVAKIT_CONFIG", os.devnull)
    assert evakit.Stack().voice is None


def test_a_variable_set_to_nothing_is_not_set(monkeypatch):
    write('language = "fr"')
    for name in SETTINGS:
        monkeypatch.setenv(f"EVAKIT_{name.upper()}", "")

    assert evakit.Stack().languages == ("fr",)


def test_a_mark_at_the_beginning_and_windows_lines_are_read():
    Path(HERE).write_bytes(b'\xef\xbb\xbfvoice = "joe"\r\nlanguage = "FR"\r\n')

    found = evakit.Stack().settings
    assert (found.voice, found.language) == ("joe", ("fr",))
    assert found.given("language")[0].place == f"{Path(HERE).resolve()}, line 2"


# Beside a stack


async def test_beside_a_stack_voice_and_language_are_the_stacks(monkeypatch):
    write('voice = "file"\nlanguage = "fr"\nsystem = "Be brief."')
    llm = ScriptedLLM()
    stack = evakit.Stack(stt=None, llm=llm, tts=None, voice="ton", language="en")
    monkeypatch.setenv("EVAKIT_VOICE", "later")
    monkeypatch.setenv("EVAKIT_SYSTEM", "Later.")
    async with evakit.AsyncConversation(stack) as conversation:
        await conversation.respond("hi")

    assert (stack.voice, stack.languages) == ("ton", ("en",))
    assert llm.requests[0].messages[0].content == "Be brief."


@pytest.mark.parametrize(
    "argument", [{"stt": "whisper:base"}, {"llm": None}, {"tts": ToneTTS()}, {"device": "auto"}]
)
def test_what_would_be_ignored_beside_a_stack_is_refused(argument):
    [name] = argument
    with pytest.raises(errors.ConfigurationError, match=f"^{name}= would be ignored"):
        evakit.AsyncConversation(evakit.Stack(), **argument)


@pytest.mark.parametrize(
    ("given", "what"),
    [
        ("whisper", 'a str; write stt="whisper" (or llm=, tts=), or pass an evakit.Stack.'),
        ("", 'a str; write stt="whisper" (or llm=, tts=), or pass an evakit.Stack.'),
        (evakit.backend("piper", rate=1.2), "a BackendChoice; write stt="),
        (ScriptedSTT(), "a ScriptedSTT; write stt="),
        (evakit.Stack, "a type; write stt="),
        (False, "a bool; write stt="),
    ],
)
@pytest.mark.parametrize("kind", [evakit.Conversation, evakit.AsyncConversation])
def test_what_is_given_first_is_a_stack_and_nothing_else(kind, given, what):
    with pytest.raises(errors.ConfigurationError) as caught:
        kind(given)
    assert str(caught.value).startswith(
        f"The first argument of a conversation is a Stack, not {what}"
    )


def test_settings_of_backends_beside_a_stack_are_not_an_error(monkeypatch):
    stack = evakit.Stack(stt=ScriptedSTT(), llm=None, tts=None)
    monkeypatch.setenv("EVAKIT_STT", "whisper")
    evakit.AsyncConversation(stack)


# What is wrong, and where


@pytest.mark.parametrize(
    ("written", "says"),
    [
        ('\nlagnuage = "fr"', "line 2: there is no setting 'lagnuage'; did you mean 'language'?"),
        ('STT = "whisper"', "line 1: there is no setting 'STT'; did you mean 'stt'?"),
        ('[tool.evakit]\nstt = "x"', "line 1: there is no setting 'tool'; there are stt, llm,"),
        ("voice = 3", "line 1: voice takes the name of a voice, not an integer."),
        ("voice = true", "line 1: voice takes the name of a voice, not a boolean."),
        ('voice = ""', "line 1: voice takes the name of a voice, not an empty text."),
        ('voice = ["joe"]', "line 1: voice takes the name of a voice, not a list."),
        ("system = 1979-05-27", "line 1: system takes a text, not a date."),
        ("system = 07:32:00", "line 1: system takes a text, not a time."),
        ("device = 0", "line 1: device takes the name of a device, not an integer."),
        ('device = "gpu"', "line 1: 'gpu' is not a device"),
        ('# a\n\nlanguage = "french!"', "line 3: 'french!' is not a language tag"),
        ('language = ""', "line 1: '' is not a language tag"),
        ('language = ["en", 1]', "line 1: A language tag is text, not int; write one such as"),
        ("language = 1.5", "line 1: language takes a tag or a list of tags, not a float."),
        ("llm = 3", "line 1: llm takes the name of a backend or a table"),
        ('llm = ""', "line 1: '' does not name a backend"),
        ('llm = ":model"', "line 1: ':model' does not name a backend"),
        ('llm = ["a"]', "line 1: llm takes the name of a backend or a table"),
        ('[[llm]]\nname = "a"', "line 1: llm takes the name of a backend or a table"),
        ("\n\n[llm]\ntemperature = 1", "line 3: llm is a table without the name of a backend"),
        ('[llm]\nname = ""', "line 1: '' does not name a backend"),
        ("[llm]\nname = 3", "line 1: llm is a table without the name of a backend"),
        ("[llm.name]\nx = 3", "line 1: llm is a table without the name of a backend"),
        ('llm.temperature = 1\nllm.name = ":"', "line 1: ':' does not name a backend"),
        ('"llm" = 3', "line 1: llm takes"),
        ("stt = 'x'\nstt = 'y'", "line 2, column "),
        ("stt = whisper", "line 1, column 7: this is not TOML (Invalid value)"),
        ("\x00", "line 1, column 1: this is not TOML"),
        ("stt", "line 1, column 4: this is not TOML ("),
        ('system = """\nBe', "end of document: this is not TOML (Unterminated string)"),
        ("voice = " + "[" * 9000, "is nested too deeply"),
        ("voice = " + "9" * 5000, "this is not TOML ("),
    ],
)
def test_what_is_wrong_in_the_file_says_the_line(written, says):
    write(written)
    said = refused()

    assert said.startswith(str(Path(HERE).resolve()))
    assert says in said


def test_the_line_is_that_of_the_key_and_not_of_a_text_that_looks_like_it():
    write(
        'system = """\nvoice = 1\n[voice]\n"""\nlanguage = [\n"en",\n]\n'
        '[llm]\nname = "x"\nvoice = 1\n[stt]\nname = "y"\n'
    )
    found = evakit.Stack(voice="joe").settings

    places = {n: found.given(n)[0].place.rpartition(" ")[2] for n in ("llm", "stt", "language")}
    assert places == {"llm": "8", "stt": "11", "language": "5"}
    write('system = """\nvoice = 1\n"""\n[llm]\nname = "x"\nvoice = 1\n[voice]\n')
    assert "line 7: voice takes the name of a voice, not a table." in refused()


def test_a_value_that_is_hidden_is_checked_all_the_same():
    write('llm = ""')
    assert "line 1" in refused(llm="llamacpp")


@pytest.mark.parametrize(
    ("variable", "value", "says"),
    [
        ("EVAKIT_LANGAUGE", "fr", "did you mean EVAKIT_LANGUAGE?"),
        ("EVAKIT_SST", "whisper", "did you mean EVAKIT_STT?"),
        ("EVAKIT_TTS_VOICE", "joe", "did you mean EVAKIT_TTS?"),
        ("EVAKIT_CONFIG_FILE", "x", "did you mean EVAKIT_CONFIG?"),
        ("EVAKIT_HOMES", "x", "did you mean EVAKIT_HOME?"),
        ("EVAKIT_LANGAUGE", "", "did you mean EVAKIT_LANGUAGE?"),
        ("EVAKIT_LANGUAGE", "fr,,en", "EVAKIT_LANGUAGE: '' is not a language tag"),
        ("EVAKIT_LANGUAGE", "fr en", "EVAKIT_LANGUAGE: 'fr en' is not a language tag"),
        ("EVAKIT_DEVICE", "gpu", "EVAKIT_DEVICE: 'gpu' is not a device"),
        ("EVAKIT_LLM", ":", "EVAKIT_LLM: ':' does not name a backend"),
        ("EVAKIT_LLM", '{name = "x"', "EVAKIT_LLM: llm holds a table that is not TOML"),
        ("EVAKIT_LLM", "{" + "a={" * 9000, "EVAKIT_LLM: llm holds a table that is not TOML"),
        ("EVAKIT_LLM", '{name = "x"}\ny = 1', "EVAKIT_LLM: llm holds a table that is not TOML"),
        ("EVAKIT_LLM", "{rate = 1}", "EVAKIT_LLM: llm is a table without the name"),
        ("EVAKIT_VOICE", "\udcff", "EVAKIT_VOICE is not UTF-8"),
    ],
)
def test_what_is_wrong_in_the_environment_says_the_variable(monkeypatch, variable, value, says):
    monkeypatch.setenv(variable, value)
    said = refused()

    assert variable in said
    assert says in said


@pytest.mark.skipif(os.name == "nt", reason="there, all names of variables are capitals")
def test_a_variable_in_small_letters_names_the_right_one(monkeypatch):
    monkeypatch.setenv("evakit_stt", "whisper")
    assert "evakit_stt is no setting; did you mean EVAKIT_STT?" in refused()


@pytest.mark.parametrize(
    "variable",
    ["EVAKIT_SERVICE_HOST", "EVAKIT_PORT_80_TCP_ADDR", "EVAKIT_PORT", "EVAKIT_DEBUG", "EVAKITSTT"],
)
def test_variables_of_others_are_left_alone(monkeypatch, variable):
    monkeypatch.setenv(variable, "10.0.0.1")
    evakit.Stack()


@pytest.mark.parametrize(
    ("arguments", "kind", "says"),
    [
        ({"language": "french!"}, errors.UnknownLanguageError, "'french!' is not a language tag"),
        ({"language": 3}, errors.ConfigurationError, "a list of tags, not an integer."),
        ({"language": b"fr"}, errors.ConfigurationError, "language takes a tag"),
        ({"language": [1]}, errors.UnknownLanguageError, "A language tag is text, not int; write"),
        ({"voice": 3}, errors.ConfigurationError, "voice takes the name of a voice, not an int"),
        ({"voice": ""}, errors.ConfigurationError, "not an empty text."),
        ({"device": "gpu"}, errors.ConfigurationError, "'gpu' is not a device"),
        ({"device": 0}, errors.ConfigurationError, "device takes the name of a device"),
        ({"stt": ""}, errors.ConfigurationError, "'' does not name a backend"),
        ({"llm": evakit.backend(":x")}, errors.ConfigurationError, "':x' does not name"),
    ],
)
def test_what_is_wrong_in_an_argument_is_said_at_once(arguments, kind, says):
    assert says in refused(kind, **arguments)
    for conversation in (evakit.Conversation, evakit.AsyncConversation):
        with pytest.raises(kind):
            conversation(**arguments)


@pytest.mark.parametrize("argument", [{"voice": 3}, {"language": "french!"}, {"system": 3}])
def test_what_is_wrong_beside_a_stack_is_said_at_once(argument):
    with pytest.raises(errors.ConfigurationError):
        evakit.AsyncConversation(evakit.Stack(), **argument)


def test_an_unknown_argument_names_the_nearest():
    with pytest.raises(errors.ConfigurationError, match="did you mean 'language'"):
        resolve({"langauge": "fr"})


async def test_a_backend_that_cannot_be_made_says_where_it_was_named(monkeypatch, here):
    write('llm = "llamacpi"\n[tts]\nname = "piper"\nrat = 1.2\n')
    with pytest.raises(errors.UnknownBackendError) as caught:
        await evakit.Stack(stt=None, tts=None).load()
    assert str(caught.value).endswith(f"(llm is set in {here}, line 1.)")
    with pytest.raises(errors.UnknownOptionError) as caught:
        await evakit.Stack(stt=None, llm=None).load()
    assert str(caught.value).endswith(f"did you mean 'rate'? (tts is set in {here}, line 2.)")
    monkeypatch.setenv("EVAKIT_DEVICE", "cuda")
    with pytest.raises(errors.DeviceError, match=r"\(device is set in EVAKIT_DEVICE\.\)$"):
        await evakit.Stack(stt=None, llm=None, tts="piper").load()
    with pytest.raises(errors.UnknownBackendError) as caught:
        await evakit.Stack(stt=None, llm="nobody", tts=None).load()
    assert "is set in" not in str(caught.value)


async def test_a_model_is_named_once():
    write('[llm]\nname = "llamacpp:one"\nmodel = "two"\n')
    with pytest.raises(errors.ConfigurationError, match="two models, 'one' in its name and 'two'"):
        await evakit.Stack(stt=None, tts=None).load()


async def test_a_voice_that_does_not_fit_says_where_it_was_named(monkeypatch, here):
    write('voice = "nobody"')
    monkeypatch.setenv("EVAKIT_LANGUAGE", "en")
    place = f"{here}, line 1"
    with pytest.raises(errors.UnknownVoiceError) as caught:
        await evakit.Stack(stt=None, llm=None, tts=ToneTTS()).load()
    told = f"(voice is set in {place}; language is set in EVAKIT_LANGUAGE.)"
    assert str(caught.value).endswith(told)


WORDS = ["name", '"a"', '"fr"', "'''", "true", "1979-05-27", "none", "\ufeff", "= 1\n", '= "a"\n']
PIECES = st.sampled_from([*SETTINGS, *SETTINGS, *WORDS, *'=.[]{}, \n1"#-'])
ANYTHING = st.binary(max_size=60) | st.lists(PIECES, max_size=20).map(lambda p: "".join(p).encode())


@given(ANYTHING)
def test_a_file_of_anything_is_settings_or_one_sentence_with_its_name(content):
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        Path(HERE).write_bytes(content)
        try:
            found = resolve()
        except errors.ConfigurationError as error:
            assert str(error).startswith(str(Path(HERE).resolve()))  # noqa: PT017 (or none)
        else:
            assert {g.source for n in SETTINGS for g in found.given(n)} <= {"file", "default"}


@given(st.sampled_from(list(SETTINGS)), ANYTHING.map(lambda c: c.decode("utf-8", "ignore")))
def test_an_option_of_anything_is_a_value_or_one_sentence_with_its_name(name, content):
    try:
        settings.from_text(name, content, place=f"--{name}")
    except errors.ConfigurationError as error:
        assert str(error).startswith(f"--{name}: ")  # noqa: PT017


# Files that are none


def huge(path):
    path.touch()
    os.truncate(path, 100 << 20)


@pytest.mark.parametrize("named", [True, False])
@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda path: path.mkdir(), "is a folder; settings stand in a TOML file"),
        (os.mkfifo, "is not a file that can be read twice"),
        (lambda path: path.symlink_to(path), "cannot be read (Too many levels"),
        (huge, "is larger than 64 KiB"),
        (lambda path: path.write_bytes("voice = 'joe'".encode("utf-16")), "line 1: this is not U"),
        (lambda path: path.write_bytes(b"#\n#\n# \xe9t\xe9"), "line 3: this is not UTF-8"),
    ],
)
@pytest.mark.skipif(os.name != "posix", reason="pipes and links")
def test_a_file_that_is_none_is_refused(monkeypatch, tmp_path, named, make, says):
    path = tmp_path / "other" if named else Path(HERE).absolute()
    make(path)
    if named:
        monkeypatch.setenv("EVAKIT_CONFIG", str(path))
    said = refused()

    assert str(path) in said
    assert says in said


def test_a_file_that_is_named_and_missing_is_refused(monkeypatch, tmp_path):
    for path in (tmp_path / "no.toml", "~nobody-of-that-name/x"):
        monkeypatch.setenv("EVAKIT_CONFIG", str(path))
        assert f"EVAKIT_CONFIG names {path}, which is not there" in refused()
    (tmp_path / "file").touch()
    monkeypatch.setenv("EVAKIT_CONFIG", str(tmp_path / "file" / "x"))
    assert "Not a directory" in refused()


@pytest.mark.skipif(os.name != "posix", reason="links")
def test_a_link_to_nothing_is_refused():
    Path(HERE).symlink_to("gone.toml")
    assert "is a link to a file that is not there" in refused()


@pytest.fixture
def nobody():
    """Not to be root, who may read everything."""
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)
    yield
    os.seteuid(user)


@pytest.mark.skipif(os.name != "posix", reason="users and what they may")
def test_a_file_that_may_not_be_read_is_refused(request):
    write("voice = 'joe'")
    Path(HERE).chmod(0)
    Path.cwd().chmod(0o755)
    request.getfixturevalue("nobody")
    assert "cannot be read (Permission denied)" in refused()


@pytest.mark.skipif(os.name != "posix", reason="users and what they may")
def test_a_folder_that_may_not_be_looked_into_is_passed_over(request):
    write("voice = 'joe'")
    Path.cwd().chmod(0o600)
    request.getfixturevalue("nobody")
    assert evakit.Stack().voice is None


@pytest.mark.skipif(os.name != "posix", reason="folders in use can be removed")
def test_in_a_folder_that_was_removed_there_is_no_file(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)  # and back to it at the end
    (tmp_path / "gone").mkdir()
    os.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()

    assert evakit.Stack().voice is None
    monkeypatch.setenv("EVAKIT_CONFIG", ".")
    assert "is a folder" in refused()


# Secrets


def test_what_reads_like_a_secret_is_not_shown():
    table = (
        '{name = "openai", api_key = "sk-1", base_url = "http://me:sk-2@host/v1", max_tokens = 9,'
        ' headers = {Authorization = "sk-3"}, keys = ["sk-4"], password = 5000}'
    )
    found = resolve({"llm": settings.from_text("llm", table, place="--llm")})

    assert found.llm.options["api_key"] == "sk-1"
    for shown in (
        repr(found),
        repr(found.given("llm")),
        json.dumps(SETTINGS["llm"].to_data(found.llm)),
    ):
        assert "sk-" not in shown
        assert "5000" not in shown
        assert "http://***@host/v1" in shown
        assert "9" in shown


def test_a_broken_table_is_not_shown(monkeypatch):
    monkeypatch.setenv("EVAKIT_LLM", '{name = "x", api_key = "sk-1"')
    assert "sk-1" not in refused()


# What plugins add


def test_a_section_of_an_installed_plugin_is_known(monkeypatch, tmp_path):
    write('voice = "joe"\n[server]\nport = 8000\n')
    assert "line 2: there is no setting 'server'" in refused()

    install(tmp_path, "evakit-server", {}, "[evakit.settings]\nserver = evakit_server\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("EVAKIT_SERVER_DEVICE", "x")
    assert evakit.Stack().voice == "joe"
    assert settings.section("server") == {"port": 8000}
    assert settings.section("other") == {}
    write("server = 3")
    with pytest.raises(errors.ConfigurationError, match=r"line 1: server is a table"):
        settings.section("server")


# What it costs


def test_constructing_reads_the_file_once_and_no_model_library(tmp_path):
    code = (
        "import sys, evakit\nseen = []\n"
        "sys.addaudithook(lambda e, a: seen.append(a[0]) if e == 'open' else None)\n"
        "evakit.Conversation(); seen.clear(); evakit.Conversation()\n"
        "print([str(s) for s in seen])\n"
    )
    write('voice = "joe"')
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("['evakit.toml']\n", "")


def test_settings_go_to_another_process():
    write('voice = "joe"\n[llm]\nname = "parrot"\n')
    found = resolve({"stt": None}, place="--{}")
    copy = pickle.loads(pickle.dumps(found))  # noqa: S301 (made above)

    assert copy == found
    assert [copy.given(name) for name in SETTINGS] == [found.given(name) for name in SETTINGS]
    assert pickle.loads(pickle.dumps(UNSET)) is UNSET  # noqa: S301


def test_an_argument_left_out_is_unset_and_says_so():
    assert repr(UNSET) == "UNSET"
    assert resolve({"llm": UNSET}).llm == "llamacpp"


def test_a_slip_of_the_finger_names_the_setting_that_was_meant():
    with pytest.raises(errors.ConfigurationError, match="did you mean 'voice'"):
        settings.resolve({"voicee": 1})


@pytest.mark.parametrize(
    ("stage", "choice"),
    [
        ("llm", evakit.backend("llamacpp", temperature="hot")),
        ("stt", evakit.backend("whisper", beam_size="fast")),
    ],
)
async def test_an_option_of_another_type_is_a_sentence(anyio_backend, stage, choice):
    with pytest.raises(errors.ConfigurationError, match="cannot be made with the options"):
        async with evakit.Stack(**({"stt": None, "llm": None, "tts": None} | {stage: choice})):
            pass


@pytest.mark.parametrize("plugins", [5, "evakit-beep"])
def test_plugins_are_a_list_of_objects(plugins):
    with pytest.raises(errors.ConfigurationError, match="plugins= is a list of plugins"):
        evakit.Stack(plugins=plugins)
