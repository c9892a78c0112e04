"""Public names: listed, in order, importable and explained."""

from __future__ import annotations

import importlib
import inspect
import pkgutil

import pytest

import evakit


def public_modules():
    yield evakit.__name__
    for module in pkgutil.walk_packages(evakit.__path__, "evakit."):
        if not any(part.startswith("_") for part in module.name.split(".")):
            yield module.name


MODULES = sorted(public_modules())


def in_order(names):
    """Constants, then classes, then everything else, each by the alphabet, as ruff has it."""

    def key(name):
        return (0 if name.isupper() else 1 if name[0].isupper() else 2, name)

    return sorted(names, key=key)


def is_ours(value):
    return (getattr(value, "__module__", None) or "").startswith("evakit")


def test_everything_that_evakit_offers_can_be_had():
    for name in evakit.__all__:
        assert getattr(evakit, name) is not None
    assert set(evakit.__all__) <= set(dir(evakit))
    with pytest.raises(AttributeError, match="no attribute 'Conversations'"):
        evakit.Conversations  # noqa: B018 (asking is the test)


def test_every_name_has_a_home():
    homes = set(evakit._HOMES)
    assert homes <= set(evakit.__all__)
    assert set(evakit.__all__) - homes == {"abc", "devices", "errors", "settings"}
    for name, home in evakit._HOMES.items():
        assert name in importlib.import_module(f"evakit.{home}").__all__, f"{home}: {name}"


@pytest.mark.parametrize("name", MODULES)
def test_a_module_lists_its_public_names_in_order(name):
    module = importlib.import_module(name)
    listed = module.__all__
    assert list(listed) == in_order(set(listed))
    for entry in listed:
        assert not entry.startswith("_")
        assert hasattr(module, entry)


@pytest.mark.parametrize("name", [name for name in MODULES if name != "evakit"])
def test_a_module_lists_every_public_class_and_function_of_its_own(name):
    module = importlib.import_module(name)
    defined = {
        entry
        for entry, value in vars(module).items()
        if not entry.startswith("_")
        and (inspect.isclass(value) or inspect.isfunction(value))
        and value.__module__ == name
    }
    assert defined <= set(module.__all__)


@pytest.mark.parametrize("name", MODULES)
def test_a_module_and_its_public_names_are_explained(name):
    module = importlib.import_module(name)
    assert inspect.getdoc(module)
    silent = []
    for entry in module.__all__:
        value = getattr(module, entry)
        if not is_ours(value) or not (inspect.isclass(value) or inspect.isroutine(value)):
            continue
        if not inspect.getdoc(value):
            silent.append(entry)
        if inspect.isclass(value):
            silent.extend(
                f"{entry}.{member}"
                for member, attribute in inspect.getmembers(value)
                if not member.startswith(("_", "test_"))  # a test's name is its sentence
                and (isinstance(attribute, property) or inspect.isfunction(attribute))
                and is_ours(getattr(attribute, "fget", attribute))
                and not inspect.getdoc(getattr(value, member))
            )
    assert silent == []
