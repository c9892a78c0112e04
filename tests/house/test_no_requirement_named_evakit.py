"""On the package index the name `evakit` belongs to another project: nothing may ask for it."""

from __future__ import annotations

import re
import shlex
import tomllib

import pytest

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def required(requirement):
    """The distribution that a requirement names, as package indexes compare names."""
    found = NAME.match(requirement.strip())
    return re.sub(r"[-_.]+", "-", found.group()).lower().strip("-") if found else None


def requirements_of(pyproject):
    project = pyproject.get("project", {})
    yield from pyproject.get("build-system", {}).get("requires", ())
    yield from project.get("dependencies", ())
    for extra in project.get("optional-dependencies", {}).values():
        yield from extra
    for group in pyproject.get("dependency-groups", {}).values():
        yield from (entry for entry in group if isinstance(entry, str))


INSTALL = re.compile(
    r"(?:\bpip3?|\buv pip|\bpipx|\buv|\bpoetry|\bconda)\s+(?:install|download|wheel|add|run)\s+"
    r"([^`\n]*)"
)


def installed_by(text):
    """The distributions that the install commands in a text name."""
    for command in INSTALL.findall(text):
        try:
            words = shlex.split(command.split("#")[0])
        except ValueError:  # a quotation mark of the prose around the command
            words = command.split()
        for word in words:
            if word in {"&&", ";", "||", "|"}:
                break
            is_path = "/" in word or word.startswith((".", "-", "{", "$"))
            if not is_path:
                yield required(word.strip("\"'.,;:)"))


def test_no_project_requires_a_distribution_named_evakit(files):
    projects = [path for path in files if path.name == "pyproject.toml"]
    assert len(projects) >= 4
    for path in projects:
        project = tomllib.loads(path.read_text())
        assert project["project"]["name"] != "evakit", path
        names = [required(line) for line in requirements_of(project)]
        assert "evakit" not in names, path


def test_no_constraint_names_a_distribution_named_evakit(files):
    for path in files:
        if re.fullmatch(r"(constraints|requirements).*\.(txt|in)", path.name):
            for line in path.read_text().splitlines():
                assert required(line) != "evakit", f"{path}: {line}"


def test_no_command_installs_a_distribution_named_evakit(texts):
    for path, text in texts.items():
        if path.name == "test_no_requirement_named_evakit.py":
            continue
        assert "evakit" not in set(installed_by(text)), path


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("pip install evakit", {"evakit"}),
        ("`pip install evakit`", {"evakit"}),
        ("pip install 'evakit[cli]>=1' numpy", {"evakit", "numpy"}),
        ("python -m pip install -U Evakit.", {"evakit"}),
        ("uv add evakit && ls", {"evakit"}),
        ("pip install evakit-voice evakit_piper", {"evakit-voice", "evakit-piper"}),
        ("pip install -e . ./plugins/evakit-piper", set()),
    ],
)
def test_a_forbidden_command_would_be_seen(text, names):
    assert set(installed_by(text)) - {None} == names
