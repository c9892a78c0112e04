"""Each hook stands in the reference with its signature, and says what its implementers need."""

from __future__ import annotations

import inspect
import re

import pytest

from evakit import hookspecs

HOOKS = [name for name in hookspecs.__all__ if name.startswith("evakit_")]


@pytest.fixture
def page(root):
    return (root / "docs" / "reference" / "hooks.md").read_text()


@pytest.mark.parametrize("name", HOOKS)
def test_a_hook_stands_in_the_reference_with_its_signature(name, page):
    hook = getattr(hookspecs, name)
    assert f"\n## {name}\n" in page
    signature = str(inspect.signature(hook)).replace("'", "")
    assert f"\ndef {name}{signature}: ...\n" in page


def test_the_reference_documents_no_other_hook(page):
    assert re.findall(r"^## (evakit_\w+)$", page, re.MULTILINE) == HOOKS


@pytest.mark.parametrize("name", HOOKS)
@pytest.mark.parametrize("says", ["Called ", "thread", "eturn", "Discovered: "])
def test_a_hook_says_when_and_where_it_is_called_and_what_a_return_means(name, says):
    assert says in getattr(hookspecs, name).__doc__


@pytest.mark.parametrize("name", HOOKS)
def test_a_hook_explains_its_arguments(name):
    hook = getattr(hookspecs, name)
    for argument in inspect.signature(hook).parameters:
        assert f"`{argument}`" in hook.__doc__
