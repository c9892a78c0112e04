"""The documents keep their word: their examples run, their commands exist, their tables are so."""

from __future__ import annotations

import doctest
import re
import shlex
import shutil
import subprocess
import sys
import types
from importlib.resources import files
from pathlib import Path

import pytest

click = pytest.importorskip("click", reason="the command is an extra")

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(ROOT.glob("docs/**/*.md"))]
PAGES = [page for page in PAGES if "_build" not in page.parts]
# A block of a page: its language, the text before it, and what is in it.
BLOCK = re.compile(r"^```([\w{}-]+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def blocks(page, *languages):
    """The blocks of a page in these languages, each with the line on which it begins."""
    text = page.read_text("utf-8")
    return [
        (text.count("\n", 0, found.start(2)), found[1], found[2])
        for found in BLOCK.finditer(text)
        if found[1] in languages
    ]


def having(*languages):
    pages = [page for page in PAGES if blocks(page, *languages)]
    return pytest.mark.parametrize("page", pages, ids=lambda page: str(page.relative_to(ROOT)))


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty folder to be in, with the question that the documents speak of."""
    shutil.copy(str(files("evakit.cli") / "question.wav"), tmp_path / "question.wav")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def beep(monkeypatch):
    """Make the tutorial's plugin known, as its own steps would."""
    source = ROOT / "examples/evakit-beep/src"
    monkeypatch.syspath_prepend(str(source))


@having("python", "console")
@pytest.mark.timeout(180)
def test_the_examples_of_a_page_run_one_after_the_other(page, folder, monkeypatch):
    module = types.ModuleType(f"page_{page.stem.replace('-', '_')}")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    if page.stem == "first-plugin":
        monkeypatch.setattr(evakit_sources(), "discover", with_beep(module))
    for line, language, text in blocks(page, "python", "console"):
        if language == "python":
            # Lines above it are left empty, so that a failure names the line of the page.
            exec(compile("\n" * line + text, page, "exec"), vars(module))  # noqa: S102
        else:
            run_session(text, folder)
