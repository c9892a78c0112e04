"""The documents keep their word: their examples run, their commands exist, their tables are so."""

from __future__ import annotations

import doctest
import inspect
import logging
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
import types
from importlib.resources import files
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from urllib.parse import unquote

import attrs
import click
import pytest

import evakit
from evakit import errors, events
from evakit._choices import create
from evakit.cli.group import evakit as command
from evakit.plugins import discover
from evakit.settings import SETTINGS, from_text

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *sorted(page for page in DOCS.glob("**/*.md") if "_build" not in page.parts),
]
# What stands in its blocks are signatures and fragments, which no program begins with.
FRAGMENTS = DOCS / "reference/hooks.md"
BLOCK = re.compile(r"^```([\w-]+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"\]\(([^)\s]+)\)")
SETTING = re.compile(r"\w+=\S*")


def blocks(page, *languages):
    """The blocks of a page in these languages, each with the line before which it begins."""
    text = page.read_text("utf-8")
    return [
        (text.count("\n", 0, found.start(2)), found[1], found[2])
        for found in BLOCK.finditer(text)
        if found[1] in languages
    ]


def pages_with(*languages):
    pages = [page for page in PAGES if blocks(page, *languages) and page != FRAGMENTS]
    return pytest.mark.parametrize("page", pages, ids=lambda page: page.stem)


@pytest.fixture
def folder(tmp_path, monkeypatch, beep_plugin):
    """A folder to be in, with what the documents suppose: the question, the tutorial's plugin."""
    shutil.copy(str(files("evakit.cli") / "question.wav"), tmp_path / "question.wav")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(beep_plugin))
    log = logging.getLogger("evakit")
    before = log.level, list(log.handlers)
    yield tmp_path
    log.setLevel(before[0])
    log.handlers[:] = before[1]  # a page shows how to have records printed
    sys.modules.pop("evakit_beep", None)


def run(text, page, line, module):
    """Run a block as if the page were a program, so that a failure names the page's line."""
    exec(compile("\n" * line + text, page, "exec", dont_inherit=True), vars(module))  # noqa: S102


def run_session(text, folder):
    """Run what follows each `$` and compare what it prints, `...` standing for anything."""
    for part in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
        line, _, expected = part.partition("\n")
        program, *arguments = shlex.split(line)
        assert program == "evakit"
        done = subprocess.run(
            [sys.executable, "-m", "evakit", *arguments],
            capture_output=True,
            text=True,
            check=False,
            cwd=folder,
            env={**os.environ, "COLUMNS": "200"},
        )
        assert done.returncode == 0, done.stderr
        options = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
        assert doctest.OutputChecker().check_output(expected, done.stdout, options), (
            f"{line} printed\n{done.stdout}\nand the page says\n{expected}"
        )


@pytest.mark.timeout(180)
@pages_with("python", "console")
def test_the_examples_of_a_page_run_one_after_the_other(page, folder, monkeypatch):
    module = types.ModuleType(f"page_{page.stem.replace('-', '_')}")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    for line, language, text in blocks(page, "python", "console"):
        if language == "python":
            run(text, page, line, module)
        else:
            run_session(text, folder)


def test_the_fragments_of_the_hooks_page_are_python():
    for line, _, text in blocks(FRAGMENTS, "python"):
        compile("\n" * line + text, FRAGMENTS, "exec", dont_inherit=True)


STAGE = re.compile(r"EVAKIT_(STT|LLM|TTS)=('[^']*'|[^\s`]+)")


def backends(page):
    """The backends that a page has settings name, with the setting."""
    for _, _, text in blocks(page, "toml"):
        for name, data in tomllib.loads(text).items():
            if name in {"stt", "llm", "tts"}:
                yield name, SETTINGS[name].from_data(data)
    for name, value in STAGE.findall(page.read_text("utf-8")):
        yield name.lower(), from_text(name.lower(), value.strip("'"), place=page.name)


@pytest.mark.parametrize(
    "page", [page for page in PAGES if any(backends(page))], ids=lambda page: page.stem
)
def test_the_backends_that_settings_name_exist_and_have_the_options(page, folder):
    for stage, asked in backends(page):
        made = create(stage, asked, discover(), None)
        assert made is None or made.backend.name


@pages_with("sh")
def test_the_commands_of_a_page_exist_and_have_the_options_that_it_uses(page):
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
    for _, _, text in blocks(page, "sh"):
        for line in text.splitlines():
            words = shlex.split(line, comments=True)
            while words and SETTING.fullmatch(words[0]):
                del words[0]
            if words[:1] == ["make"]:
                assert words[1] in targets, line
            elif words[:1] == ["evakit"]:
                parse(command, words[1:])


def parse(found, words, parent=None):
    """Let click read a command line, and do nothing with it; what it does not know, it raises."""
    context = found.make_context(found.name, list(words), parent=parent)
    if isinstance(found, click.Group):
        _, found, rest = found.resolve_command(context, [*context._protected_args, *context.args])
        parse(found, rest, context)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_what_a_page_says_to_install_are_folders_and_no_strangers_package(page):
    for line in page.read_text("utf-8").splitlines():
        _, found, rest = line.partition("pip install")
        if found and line == line.lstrip() and line.startswith(("pip", "python")):
            wanted = [word for word in shlex.split(rest) if not word.startswith("-")]
            assert wanted
            assert all(word.startswith(("./", ".[")) for word in wanted), line


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_links_of_a_page_lead_somewhere(page):
    for target in LINK.findall(BLOCK.sub("", page.read_text("utf-8"))):
        if not target.startswith(("https://", "#")):
            assert (page.parent / unquote(target.partition("#")[0])).exists(), target


def test_every_page_is_in_the_contents():
    for page in DOCS.glob("*/*.md"):
        if page.stem != "index" and "_build" not in page.parts:
            listed = (page.parent / "index.md").read_text("utf-8").splitlines()
            assert page.stem in listed, f"{page.name} is not in the toctree of its index"


def test_the_page_of_the_command_says_what_its_help_says():
    spec = spec_from_file_location("write_cli", DOCS / "write_cli.py")
    write_cli = module_from_spec(spec)
    spec.loader.exec_module(write_cli)
    assert write_cli.PAGE.read_text("utf-8") == write_cli.page(), "run: python docs/write_cli.py"


def test_the_page_of_errors_draws_the_tree_that_the_module_draws():
    [(_, _, drawn)] = blocks(DOCS / "reference/errors.md", "text")
    indented = "".join(f"    {line}\n" for line in drawn.splitlines())
    assert indented in errors.__doc__


def test_the_page_of_errors_describes_every_error():
    page = (DOCS / "reference/errors.md").read_text("utf-8")
    described = re.findall(r"autoexception:: evakit\.errors\.(\w+)", page)
    assert sorted(described) == sorted(errors.__all__)


def test_the_page_of_events_has_a_row_for_each():
    page = (DOCS / "reference/events.md").read_text("utf-8")
    rows = re.findall(r"^\| `(\w+)` \| ([^|]*) \|", page, re.MULTILINE)
    told = {name: re.findall(r"`(\w+)`", fields) for name, fields in rows}
    assert told == {kind.__name__: list(kind.__match_args__) for kind in events.Event.__args__}


def test_the_page_of_timings_names_every_instant_and_delay():
    page = (DOCS / "reference/timings.md").read_text("utf-8")
    names = [name for name in vars(evakit.TurnTimings) if name.endswith(("_at", "_delay"))]
    assert len(names) > 10
    assert [name for name in [*names, "time_to_first_token"] if name not in page] == []


def test_the_page_of_models_has_a_row_for_each_that_our_plugins_declare():
    page = (DOCS / "reference/models.md").read_text("utf-8")
    rows = [
        [cell.strip(" `") for cell in line.strip("|").split("|")]
        for line in page.splitlines()
        if re.match(r"\| `\w+:", line)
    ]
    declared = [
        [
            model.name,
            model.kind,
            f"{model.size / 1e6:.0f}",
            model.licence,
            ", ".join(model.languages) if len(model.languages) == 1 else str(len(model.languages)),
            "yes" if model.starter else "",
            ", ".join(
                name
                for name, mark in (("hub", "hub:"), ("index", "wheel:"))
                if mark in model.source
            ),
        ]
        for spec in discover()
        if spec.distribution in {"evakit-whisper", "evakit-llamacpp", "evakit-piper"}
        for model in spec.models
    ]
    assert rows == declared


def test_every_public_name_is_in_the_reference():
    pages = "".join(page.read_text("utf-8") for page in DOCS.glob("reference/*.md"))
    described = set(re.findall(r"auto\w+:: evakit\.(\w+)", pages))
    kinds = {"EvakitError", "abc", "errors"}  # described as members of those modules
    assert set(evakit.__all__) - described - kinds == set()


MADE = [getattr(evakit, name) for name in evakit.__all__]
MADE = [kind for kind in MADE if inspect.isclass(kind) and not attrs.has(kind)]
# Turns are made by a conversation, and their arguments are nobody's business.
MADE = [k for k in MADE if "__init__" in vars(k) and k not in {evakit.Turn, evakit.AsyncTurn}]
MADE += [spec.factory for spec in discover() if (spec.distribution or "").startswith("evakit-")]


@pytest.mark.parametrize("kind", MADE, ids=lambda kind: kind.__name__)
def test_what_a_class_is_made_with_is_described_with_it(kind):
    taken = list(inspect.signature(kind).parameters)
    described = re.search(r"^Args:\n((?:    .*\n)*)", f"{inspect.getdoc(kind)}\n", re.MULTILINE)
    told = re.findall(r"^    (\w+): \S", described[1] if described else "", re.MULTILINE)
    assert told == taken


@pytest.mark.parametrize("kind", [evakit.AsyncConversation, evakit.Conversation])
@pytest.mark.parametrize("method", ["respond", "say"])
def test_what_comes_of_an_empty_text_is_described(kind, method):
    assert "empty" in inspect.getdoc(getattr(kind, method))


def test_the_tutorial_shows_the_plugin_that_is_in_the_examples():
    folder, page = ROOT / "examples/evakit-beep", DOCS / "tutorial/first-plugin.md"
    [(_, _, module), *_] = blocks(page, "python")
    [(_, _, project)] = blocks(page, "toml")
    assert module == (folder / "src/evakit_beep/__init__.py").read_text("utf-8")
    assert project == (folder / "pyproject.toml").read_text("utf-8")


def test_a_plugin_has_ten_lines():
    module = (ROOT / "examples/evakit-beep/src/evakit_beep/__init__.py").read_text("utf-8")
    lines = [line for line in module.splitlines() if line and not line.startswith('"""')]
    assert len(lines) == 10


def test_the_tests_that_the_tutorial_shows_pass(folder, beep_plugin):
    [(_, _, text)] = [
        b for b in blocks(DOCS / "tutorial/first-plugin.md", "python") if "TTSC" in b[2]
    ]
    (folder / "test_beep.py").write_text(text, "utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_beep.py"],
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(beep_plugin)},
    )
    assert done.returncode == 0, done.stdout
