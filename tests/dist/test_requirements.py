"""All that evakit requires of others is there as wheels, for each platform and Python."""

from __future__ import annotations

import sys
import zipfile
from concurrent.futures import ThreadPoolExecutor
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def wheels():
    """The script that writes the README's table."""
    spec = spec_from_file_location("benchmark_wheels", ROOT / "benchmarks/wheels.py")
    module = sys.modules[spec.name] = module_from_spec(spec)
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_each_platform_and_each_python_is_served_with_wheels_alone(wheels):
    # The script asks for all of their combinations; four show that each of either is served.
    needs = sorted({line for lines in wheels.distributions().values() for line in lines})
    constraint = str(ROOT / "constraints.txt")
    with ThreadPoolExecutor(2) as threads:
        answers = threads.map(
            lambda platform, python: wheels.ask(tuple(needs), platform, python, constraint),
            wheels.PLATFORMS,
            wheels.PYTHONS,
        )
    for answer in answers:
        assert answer.reason == "", f"{answer.platform.name}, Python {answer.python}"
        assert {"ctranslate2", "xllamacpp", "piper-tts", "numpy"} <= set(answer.wheels)


def test_the_readme_has_the_table_of_these_platforms(wheels):
    readme = (ROOT / "README.md").read_text("utf-8")
    assert "| | " + " | ".join(f"Python {python}" for python in wheels.PYTHONS) + " |" in readme
    for platform in wheels.PLATFORMS:
        assert f"| {platform.name} |" + " yes |" * len(wheels.PYTHONS) in readme


def test_every_distribution_is_asked_for_and_none_of_ours(wheels):
    needs = wheels.distributions()
    plugins = {path.name for path in ROOT.glob("plugins/evakit-*")}
    assert plugins >= wheels.LEFT_OUT
    assert set(needs) == {"evakit-voice", *plugins} - wheels.LEFT_OUT
    assert not [line for lines in needs.values() for line in lines if line.startswith("evakit")]
    assert "click>=8.1" in needs["evakit-voice"]  # of an extra


def test_what_a_gpu_needs_is_not_asked_for_on_each_platform(wheels):
    lines = {line for lines in wheels.distributions().values() for line in lines}
    assert not [
        line for line in lines if line.startswith(("onnxruntime-gpu", "nvidia-cu", "torch"))
    ]
    assert "nvidia-ml-py>=13" in lines  # of the command, on each


def wheel(folder, name, tag, *requirements):
    about = f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n"
    about += "".join(f"Requires-Dist: {line}\n" for line in requirements)
    with zipfile.ZipFile(folder / f"{name}-1.0-{tag}.whl", "w") as file:
        file.writestr(f"{name}-1.0.dist-info/METADATA", about)
        file.writestr(f"{name}-1.0.dist-info/WHEEL", f"Wheel-Version: 1.0\nTag: {tag}\n")
        file.writestr(f"{name}-1.0.dist-info/RECORD", "")


@pytest.fixture
def index(tmp_path, monkeypatch):
    """An index of our own: for 3.13 on Windows alone, what there needs another thing."""
    wheel(tmp_path, "engine", "cp313-cp313-win_amd64", 'extra_thing; sys_platform == "win32"')
    wheel(tmp_path, "engine", "cp313-cp313-macosx_11_0_arm64", 'x; python_version < "3.13"')
    wheel(tmp_path, "extra_thing", "py3-none-any")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))


def test_markers_are_those_of_the_platform_asked_for(wheels, index):
    _, _, mac, windows = wheels.PLATFORMS
    assert set(wheels.ask(("engine",), windows, "3.13", None).wheels) == {"engine", "extra_thing"}
    assert set(wheels.ask(("engine",), mac, "3.13", None).wheels) == {"engine"}


def test_a_wheel_that_is_not_there_is_a_gap_that_names_it(wheels, index):
    linux, *_, windows = wheels.PLATFORMS
    for platform, python in ((linux, "3.13"), (windows, "3.12")):
        answer = wheels.ask(("engine",), platform, python, None)
        assert answer.wheels == {}
        assert "No matching distribution found for engine" in answer.reason
        assert "does not list it here" in answer.reason
