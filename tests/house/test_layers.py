"""A module may import only modules of layers above its own (design: layout)."""

from __future__ import annotations

import ast
from itertools import pairwise

import pytest

# From the top; private modules stand next to what they are a part of.
LAYERS = (
    "errors",
    "_failures",
    "_logging",
    "privacy",
    "_forked",
    "_workers",
    "_threads",
    "_audio_boxes",
    "_audio_containers",
    "_audio_samples",
    "_audio_rates",
    "_audio_pcm",
    "_audio_input",
    "_audio_soundfile",
    "_audio_media",
    "_audio_reading",
    "_audio_writing",
    "audio",
    "transcript",
    "chat",
    "voices",
    "timings",
    "events",
    "trace",
    "devices",
    "models",
    "abc",
    "registry",
    "hookspecs",
    "_observers",
    "plugins",
    "_watchdog",
    "_foreign",
    "_functions",
    "_choices",
    "_settings_file",
    "_settings_values",
    "settings",
    "endpointing",
    "normalization",
    "clauses",
    "_playout",
    "tools",
    "resilience",
    "streams",
    "_speaker",
    "_pipeline",
    "_live",
    "_turn",
    "_turn_input",
    "_voice_choice",
    "_loaded",
    "_backends",
    "_loop",
    "stack",
    "_conversation_arguments",
    "conversation",
    "_sync",
    "bench",
    "cli",
    "testing",
)
# What opens the package offers everything in it.
ENTRANCES = {"__init__", "__main__"}


def top_level(package):
    """The modules and packages directly in `package`."""
    return sorted(
        path.stem
        for path in package.iterdir()
        if path.suffix == ".py" or (path / "__init__.py").exists()
    )


def imported(path, package):
    """The modules of evakit that a file imports, by their first name, and on which line."""
    depth = len(path.relative_to(package).parts)
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.level == depth:
            names = [node.module] if node.module else [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names = [node.module.removeprefix("evakit.")] if node.module[:7] == "evakit." else []
            if node.module == "evakit":
                names = [alias.name for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [a.name[7:] for a in node.names if a.name.startswith("evakit.")]
        else:
            continue
        for name in names:
            yield name.split(".")[0], node.lineno


@pytest.fixture
def package(root):
    return root / "src" / "evakit"


def test_every_module_has_a_layer(package):
    unknown = sorted(set(top_level(package)) - set(LAYERS) - ENTRANCES)
    assert not unknown, (
        f"{', '.join(unknown)} stand(s) in no layer: add it to LAYERS in this file, below "
        "everything that it imports and above everything that imports it."
    )


def test_no_module_imports_one_of_a_lower_layer(package):
    rank = {name: number for number, name in enumerate(LAYERS)}
    wrong = []
    for path in sorted(package.rglob("*.py")):
        home = path.relative_to(package).parts[0].removesuffix(".py")
        if home in ENTRANCES:
            continue
        for name, line in imported(path, package):
            if name == home or name not in rank:
                continue
            if rank[name] > rank[home]:
                wrong.append(f"{path.relative_to(package)}:{line} imports {name}")
    assert not wrong, "imports from a lower layer:\n" + "\n".join(wrong)


def test_a_forbidden_import_would_be_seen(tmp_path):
    package = tmp_path / "evakit"
    (package / "abc").mkdir(parents=True)
    (package / "audio.py").write_text(
        "from .chat import History\nfrom . import stack\nimport evakit.cli\n"
        "from evakit import testing\nfrom evakit.conversation import x\nimport numpy\n"
    )
    (package / "abc" / "llm.py").write_text("from ..stack import Stack\nfrom .stt import STT\n")
    found = {name for name, _ in imported(package / "audio.py", package)}
    assert found == {"chat", "stack", "cli", "testing", "conversation"}
    assert [name for name, _ in imported(package / "abc" / "llm.py", package)] == ["stack"]


def test_the_layers_name_each_module_once():
    assert all(one != other for one, other in pairwise(sorted(LAYERS)))
