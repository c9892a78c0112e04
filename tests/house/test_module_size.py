"""Modules are small and named after what is in them."""

from __future__ import annotations

import statistics

import pytest

FORBIDDEN = {"base", "common", "core", "helpers", "misc", "types", "util", "utils"}


@pytest.fixture
def modules(files, root):
    return [
        path
        for path in files
        if path.suffix == ".py" and "src" in path.relative_to(root).parts[:-1]
    ]


def lines(path):
    return len(path.read_text().splitlines())


def test_no_module_is_longer_than_400_lines(modules):
    assert {path.name: lines(path) for path in modules if lines(path) > 400} == {}


def test_half_of_the_modules_have_at_most_150_lines(modules):
    assert statistics.median(map(lines, modules)) <= 150


def test_no_module_has_a_name_that_could_hold_anything(modules):
    names = {part.removesuffix(".py").strip("_") for path in modules for part in path.parts[-3:]}
    assert names & FORBIDDEN == set()


def test_every_module_says_what_lives_in_it(modules):
    silent = [path for path in modules if not path.read_text().startswith(('"""', 'r"""'))]
    assert silent == []
