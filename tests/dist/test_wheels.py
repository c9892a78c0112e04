"""What is in the wheels and sdists, and that they work where nothing of the repository is."""

from __future__ import annotations

import json
import shutil
import subprocess
import tarfile
import tomllib
import zipfile
from email.parser import HeaderParser

import pytest

import evakit

from .conftest import FOLDERS, ROOT, USUAL, build


def project(folder):
    return tomllib.loads((folder / "pyproject.toml").read_text("utf-8"))["project"]


def stem(folder):
    return f"{project(folder)['name'].replace('-', '_')}-{project(folder)['version']}"


def wheel_of(dist, folder):
    return zipfile.ZipFile(dist / f"{stem(folder)}-py3-none-any.whl")


each = pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: project(folder)["name"])


@each
def test_a_wheel_holds_the_package_and_nothing_else(dist, folder):
    package = next(iter(folder.glob("src/*/__init__.py"))).parent
    files = {
        f"{package.name}/{path.relative_to(package).as_posix()}"
        for path in package.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    with wheel_of(dist, folder) as wheel:
        names = set(wheel.namelist())
    about = f"{stem(folder)}.dist-info/"

    assert f"{package.name}/py.typed" in names
    assert {name for name in names if not name.startswith(about)} == files
    assert {name.removeprefix(about) for name in names - files} == {
        "METADATA",
        "RECORD",
        "WHEEL",
        "entry_points.txt",
        "licenses/LICENSE",
    }


def test_the_core_brings_its_question_and_its_templates(dist):
    with wheel_of(dist, ROOT) as wheel:
        names = set(wheel.namelist())
    assert "evakit/cli/question.wav" in names
    assert {f"evakit/cli/templates/{kind}.py.txt" for kind in ("stt", "llm", "tts")} <= names


@each
def test_a_wheel_says_what_it_is(dist, folder):
    with wheel_of(dist, folder) as wheel:
        about = HeaderParser().parsestr(
            wheel.read(f"{stem(folder)}.dist-info/METADATA").decode("utf-8")
        )
        licence = wheel.read(f"{stem(folder)}.dist-info/licenses/LICENSE")
    stated = project(folder)

    assert about["Name"] == stated["name"]
    assert about["Version"] == stated["version"] == evakit.__version__
    assert about["License-Expression"] == stated["license"]
    assert licence == (folder / "LICENSE").read_bytes()
    assert about["Requires-Python"] == ">=3.11"
    assert about["Summary"].endswith(".")
    assert about["Description-Content-Type"] == "text/markdown"
    assert about.get_payload().strip() == (folder / "README.md").read_text("utf-8").strip()
    required = about.get_all("Requires-Dist")
    assert not [
        line for line in required if line.split(";")[0].strip() in {"evakit", "evakit[cli]"}
    ]
    if folder != ROOT:
        assert "evakit-voice" in required


@each
def test_an_sdist_builds_the_same_wheel(dist, folder, tmp_path):
    with tarfile.open(dist / f"{stem(folder)}.tar.gz") as sdist:
        sdist.extractall(tmp_path, filter="data")
    source = tmp_path / stem(folder)
    build(source, tmp_path, "-t", "wheel")

    name = f"{stem(folder)}-py3-none-any.whl"
    assert (tmp_path / name).read_bytes() == (dist / name).read_bytes()
    assert not [path for path in source.rglob("*") if "tests" in path.parts[len(source.parts) :]]


@pytest.mark.skipif(shutil.which("make") is None, reason="needs make")
def test_make_dist_builds_every_distribution_as_these_tests_do():
    shown = subprocess.run(
        ["make", "--dry-run", "--always-make", "dist"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    folders = " ".join(str(folder.relative_to(ROOT)) for folder in FOLDERS)
    assert f"for folder in {folders}; do" in shown
    assert 'python" -m hatchling build -d' in shown


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_installed_from_wheels_nothing_of_the_repository_is_imported(environment):
    code = (
        "import evakit, evakit_piper, sys; print(evakit.__file__, evakit_piper.__file__, sys.path)"
    )
    said = environment.run("python", "-c", code)

    assert str(ROOT) not in said
    assert said.count(str(environment.folder)) >= 3


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_installed_from_wheels_every_plugin_is_found(environment):
    rows = json.loads(environment.run("evakit", "plugins", "--json"))

    assert {row["distribution"] for row in rows} == {
        "evakit-beep",
        *(project(folder)["name"] for folder in USUAL[1:]),
    }
    assert [row["reason"] for row in rows if not row["available"]] == []


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_installed_from_wheels_the_demo_answers(environment):
    answer = json.loads(environment.run("evakit", "demo", "-o", "reply.wav", "--json"))

    assert "capital of France" in answer["heard"]
    assert answer["reply"]
    assert answer["backends"]["tts"]["name"] == "piper"
    reply = evakit.Audio.load(environment.outside / "reply.wav")
    assert reply.duration > 0.5
    assert reply.peak > 0.1


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_installed_from_wheels_the_ten_line_plugin_speaks(environment):
    said = json.loads(
        environment.run("evakit", "say", "Hello there.", "-o", "s.wav", "--tts", "beep", "--json")
    )

    assert said["backend"]["name"] == "beep"
    # A tenth of a second a letter, as its ten lines say.
    assert said["duration_s"] == pytest.approx(1.1, abs=0.01)


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_installed_from_wheels_a_new_plugin_can_be_written(environment):
    made = json.loads(environment.run("evakit", "new-plugin", "mine", "--json"))

    assert (environment.outside / made["folder"] / "pyproject.toml").exists()
