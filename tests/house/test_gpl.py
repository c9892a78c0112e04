"""Only evakit-piper, which is GPL-3.0-or-later, may import it or piper; all else is Apache-2.0."""

from __future__ import annotations

import ast
import tomllib

GPL = {"piper", "evakit_piper"}


def imports(text):
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield node.module.split(".")[0]
        elif (
            isinstance(node, ast.Call)
            and getattr(node.func, "attr", getattr(node.func, "id", ""))
            in {"import_module", "__import__", "importorskip"}
            and node.args
            and isinstance(node.args[0], ast.Constant)
        ):
            yield str(node.args[0].value).split(".")[0]


def test_nothing_else_imports_piper(texts, root):
    own = root / "plugins" / "evakit-piper"
    wrong = [
        str(path.relative_to(root))
        for path, text in texts.items()
        if path.suffix == ".py" and own not in path.parents and GPL & set(imports(text))
    ]
    assert wrong == []


def test_nothing_else_requires_piper(files, root):
    for path in files:
        if path.name != "pyproject.toml" or path.parent.name == "evakit-piper":
            continue
        required = tomllib.loads(path.read_text())["project"].get("dependencies", [])
        assert not [line for line in required if "piper" in line], path


def test_each_distribution_states_its_licence_and_brings_it(root):
    for path in [root / "pyproject.toml", *root.glob("plugins/*/pyproject.toml")]:
        licence = tomllib.loads(path.read_text())["project"]["license"]
        is_piper = path.parent.name == "evakit-piper"
        assert licence == ("GPL-3.0-or-later" if is_piper else "Apache-2.0"), path
        text = (path.parent / "LICENSE").read_text()
        assert ("GNU GENERAL PUBLIC LICENSE" if is_piper else "Apache License") in text


def test_a_forbidden_import_would_be_seen():
    for line in (
        "import piper",
        "import numpy, piper.voice",
        "from piper import PiperVoice",
        "def f():\n    from evakit_piper import x",
        "importlib.import_module('piper.config')",
    ):
        assert GPL & set(imports(line)), line
    assert not GPL & set(imports("from .piper import x\nimport pipers"))
