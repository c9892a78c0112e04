"""The versions that go together on a GPU, and that one ONNX Runtime is left by what installs them.

pip and uv are the real ones and so is what our distributions require; the wheels of others are
made here, a few bytes each.
"""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
import tomllib
import zipfile
from importlib.util import module_from_spec, spec_from_file_location

import pytest

from evakit.devices.packages import look_at_packages

from .conftest import FOLDERS, ROOT, build

PAGE = ROOT / "docs/how-to/use-the-gpu.md"
SETS = ("cu13", "cu12")
CUDA = {"cu13": 13, "cu12": 12}


@pytest.fixture(scope="module")
def gpu_sets():
    """The script that has pip and uv resolve the sets."""
    spec = spec_from_file_location("benchmark_gpu_sets", ROOT / "benchmarks/gpu_sets.py")
    module = sys.modules[spec.name] = module_from_spec(spec)
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


def without_torch(arguments):
    """What installs a set where no PyTorch is wanted."""
    kept = [argument for argument in arguments if "transformers" not in argument]
    return [argument.replace("cuda12[torch]", "cuda12") for argument in kept]


@pytest.mark.parametrize("name", SETS)
def test_the_page_has_the_commands_that_are_tried(gpu_sets, name):
    page = PAGE.read_text("utf-8")
    for tool, start in (("pip", "python -m pip install"), ("uv", "uv pip install")):
        words = [f'"{a}"' if "[" in a else a for a in without_torch(gpu_sets.SETS[name][tool])]
        assert " ".join([start, *words]) + "\n" in page


def test_what_the_page_has_you_read_is_what_evakit_says():
    said = {
        node.value
        for file in (ROOT / "src/evakit/devices").rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text("utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    page = PAGE.read_text("utf-8")
    _, _, table = page.partition("| what you read |")
    rows = re.findall(r"^\| ([^|]+) \|", table.partition("\n\n")[0], re.MULTILINE)
    printed = re.findall(r"^(?:Healthy|Blocker): (.*)$", page, re.MULTILINE)
    assert len(rows) >= 18
    assert len(printed) == 2
    # What stands for itself in the page stands for others in the sources.
    printed = [re.sub(r"PyTorch.*xllamacpp|cuda:0", "…", line) for line in printed]
    for part in (part.strip() for row in [*rows, *printed] for part in row.split("…")):
        assert not part or any(part in text for text in said), part


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", SETS)
def test_the_index_has_a_set_that_goes_together(gpu_sets, name):
    # Without PyTorch, of which an index may prefer a build for the CPU; the script has it, too.
    answer = gpu_sets.ask_pip(name, tuple(without_torch(gpu_sets.SETS[name]["pip"])))
    assert answer.problems == ()
    assert answer.packages.keys() >= {"onnxruntime-gpu", "ctranslate2", "nvidia-cublas-cu12"}


@pytest.mark.parametrize("name", SETS)
def test_the_folder_of_a_set_and_its_overrides_want_the_same(name):
    folder = ROOT / f"gpu/{name.replace('cu', 'cuda')}"
    project = tomllib.loads((folder / "pyproject.toml").read_text("utf-8"))["project"]
    [build_of_gpu] = project["dependencies"]
    version = build_of_gpu.removeprefix("onnxruntime-gpu[cuda,cudnn]==")
    assert project["name"] == "onnxruntime"
    assert project["version"] == f"{version}+{folder.name}"
    overrides = (folder / "overrides.txt").read_text("utf-8").splitlines()
    assert "onnxruntime ; sys_platform == 'never'" in overrides
    extras = project.get("optional-dependencies", {})
    assert [line for line in overrides if line.startswith("torch")] == extras.get("torch", [])


# What pip and uv answer, read.


def answer(gpu_sets, name="cu13", ours=(), **packages):
    found = {"onnxruntime-gpu": "1.31.1", "nvidia-cudnn-cu13": "9.28", "torch": "2.15.0"}
    found |= {package.replace("_", "-"): version for package, version in packages.items()}
    found = {package: version for package, version in found.items() if version}
    return gpu_sets.Answer(name, "pip", found, frozenset(ours))


def test_a_set_that_goes_together_has_no_problem(gpu_sets):
    assert answer(gpu_sets).problems == ()
    assert answer(gpu_sets, onnxruntime="1.31.1+cuda13", ours={"onnxruntime"}).problems == ()
    assert answer(gpu_sets, torch=None).problems == ()
    older = {"onnxruntime_gpu": "1.26.0", "nvidia_cudnn_cu12": "9.10", "nvidia_cudnn_cu13": None}
    assert answer(gpu_sets, "cu12", torch="2.10.0", **older).problems == ()


@pytest.mark.parametrize(
    ("packages", "problem"),
    [
        ({"onnxruntime": "1.32.0"}, "onnxruntime 1.32.0, the build for the CPU, would lie over"),
        ({"onnxruntime_gpu": None}, "onnxruntime-gpu is not among them"),
        ({"onnxruntime_gpu": "1.26.0"}, "onnxruntime-gpu 1.26.0 is built for the other CUDA"),
        ({"torch": "2.10.0"}, "torch 2.10.0 is built for the other CUDA"),
        ({"torch": "2.15.0+cpu"}, "torch 2.15.0+cpu is a build for the CPU"),
        ({"nvidia_cudnn_cu12": "9.28"}, "nvidia-cudnn-cu12 is among them"),
        ({"nvidia_cudnn_cu13": None}, "nvidia-cudnn-cu13 is not among them"),
    ],
)
def test_what_does_not_go_together_is_said(gpu_sets, packages, problem):
    [said] = answer(gpu_sets, **packages).problems
    assert said.startswith(problem)


def test_what_does_not_resolve_is_the_problem(gpu_sets):
    assert gpu_sets.Answer("cu13", "uv", {}, reason="no solution").problems == ("no solution",)


def test_the_report_of_pip_is_read(gpu_sets):
    def entry(name, version, **info):
        return {"metadata": {"name": name, "version": version}, "download_info": info}

    report = {
        "install": [
            entry("onnxruntime", "1.31.1+cuda13", url="file:///x", dir_info={}),
            entry("Nvidia_ML.py", "13.0", url="https://x", archive_info={}),
        ]
    }
    read = gpu_sets.read_report("cu13", report)
    assert read.packages == {"nvidia-ml-py": "13.0", "onnxruntime": "1.31.1+cuda13"}
    assert read.ours == {"onnxruntime"}


def test_the_pins_of_uv_are_read(gpu_sets):
    read = gpu_sets.read_pins("cu13", "./plugins/evakit-piper\nonnxruntime-gpu==1.31.1\n.\n")
    assert read.packages == {"onnxruntime-gpu": "1.31.1"}
    assert read.ours == frozenset()


def run_main(gpu_sets, monkeypatch, answers, *options):
    monkeypatch.setattr(sys, "argv", ["gpu_sets.py", *options])
    monkeypatch.setattr(gpu_sets, "ask_pip", lambda name, _: answers[name])
    return gpu_sets.main()


def test_a_problem_is_printed_and_is_the_exit_status(gpu_sets, monkeypatch, capsys):
    older = {"onnxruntime_gpu": "1.26.0", "nvidia_cudnn_cu12": "9.10", "nvidia_cudnn_cu13": None}
    answers = {"cu13": answer(gpu_sets), "cu12": answer(gpu_sets, "cu12", torch=None, **older)}
    assert run_main(gpu_sets, monkeypatch, answers, "--tool", "pip") == 0
    assert "| cu13 | pip | onnxruntime-gpu | 1.31.1 |" in capsys.readouterr().out

    answers["cu13"] = answer(gpu_sets, onnxruntime="1.32.0")
    assert run_main(gpu_sets, monkeypatch, answers, "--tool", "pip") == 1
    assert "cu13, pip: onnxruntime 1.32.0, the build for the CPU" in capsys.readouterr().out

    assert run_main(gpu_sets, monkeypatch, answers, "--tool", "pip", "--json") == 1
    said = json.loads(capsys.readouterr().out)["found"]
    assert [(a["set"], a["tool"], len(a["problems"])) for a in said] == [
        ("cu13", "pip", 1),
        ("cu12", "pip", 0),
    ]
    assert said[0]["packages"]["onnxruntime"] == "1.32.0"


# What is installed in the end.

# The distributions of others whose own requirements matter, by version; all else that ours
# require has none here.
OTHERS = {
    "ctranslate2": {"4.8.5": []},
    "faster-whisper": {"1.2.1": ["ctranslate2", "onnxruntime<2,>=1.14"]},
    "nvidia-cublas": {"13.10": []},
    "nvidia-cublas-cu12": {"12.9": []},
    "nvidia-cudnn-cu12": {"9.28": []},
    "nvidia-cudnn-cu13": {"9.28": []},
    "onnxruntime": {"1.32.0": []},
    "onnxruntime-gpu": {
        "1.26.0": ["nvidia-cublas-cu12; extra == 'cuda'", "nvidia-cudnn-cu12; extra == 'cudnn'"],
        "1.31.1": ["nvidia-cublas; extra == 'cuda'", "nvidia-cudnn-cu13; extra == 'cudnn'"],
    },
    "piper-tts": {"1.8.0": ["onnxruntime<2,>=1"]},
    "torch": {"2.10.0": [], "2.15.0": []},
    "of-a-stranger": {"1.0": ["onnxruntime>=1.20"]},
}
BUILT_FOR = {"1.32.0": None, "1.26.0": "12.8", "1.31.1": "13.0"}


def make_wheel(folder, name, version, requirements):
    """Write a wheel with a name, requirements and, for ONNX Runtime, what tells one build."""
    extras = sorted(set(re.findall(r"extra == '(\w+)'", " ".join(requirements))))
    about = [f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}"]
    about += [f"Provides-Extra: {extra}" for extra in extras]
    about += [f"Requires-Dist: {line}" for line in requirements]
    stem = f"{name.replace('-', '_')}-{version}"
    info = f"{stem}.dist-info"
    files = {
        f"{info}/METADATA": "\n".join(about) + "\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    if name in {"onnxruntime", "onnxruntime-gpu"}:
        cuda = BUILT_FOR[version]
        files["onnxruntime/__init__.py"] = ""
        files["onnxruntime/capi/build_and_package_info.py"] = (
            f"package_name = '{name}'\n__version__ = '{version}'\n"
            + (f"cuda_version = '{cuda}'\n" if cuda else "")
        )
    files[f"{info}/RECORD"] = "".join(f"{file},,\n" for file in [*files, f"{info}/RECORD"])
    with zipfile.ZipFile(folder / f"{stem}-py3-none-any.whl", "w") as wheel:
        for file, text in files.items():
            wheel.writestr(file, text)


def required_by(folder):
    project = tomllib.loads((folder / "pyproject.toml").read_text("utf-8"))["project"]
    lines = list(project.get("dependencies", ()))
    for extra, more in project.get("optional-dependencies", {}).items():
        lines += [f"{line}; extra == '{extra}'" for line in more]
    return project["name"], project["version"], lines


@pytest.fixture(scope="module")
def index(tmp_path_factory):
    """A folder of wheels, which is all that pip and uv are given: ours require what they do."""
    folder = tmp_path_factory.mktemp("index")
    for name, versions in OTHERS.items():
        for version, requirements in versions.items():
            make_wheel(folder, name, version, requirements)
    ours = [required_by(each) for each in FOLDERS]
    names = {name for name, _, _ in ours}
    for name, version, lines in ours:
        make_wheel(folder, name, version, lines)
        for line in lines:
            found = re.match(r"([\w.-]+)(?:\[[\w,]+\])?(?:>=([\d.]+))?", line)
            if found[1] not in OTHERS and found[1] not in names:
                make_wheel(folder, found[1], found[2] or "1.0", [])
    return folder


class Site:
    """An environment that pip and uv install into, with nothing but that index."""

    def __init__(self, folder, index):
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
        self.python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
        self.index = index
        self.wheels = {}
        for number in (12, 13):
            target = folder / f"set{number}"
            build(ROOT / f"gpu/cuda{number}", target, "-t", "wheel")
            [self.wheels[f"./gpu/cuda{number}"]] = target.glob("*.whl")
        own = {"VIRTUAL_ENV", "PYTHONPATH", "PYTHONHOME"}
        settings = {"PIP_CONFIG_FILE": os.devnull, "UV_NO_CONFIG": "1", "PYTHONWARNINGS": ""}
        self.environ = {
            name: value
            for name, value in os.environ.items()
            if name not in own and not name.startswith(("PIP_", "UV_"))
        } | settings

    def _run(self, *command, cwd=ROOT, **environ):
        done = subprocess.run(
            [sys.executable, "-m", *map(str, command)],
            cwd=cwd,
            env=self.environ | environ,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def _local(self, argument):
        """The wheel of the index that stands for a folder of ours."""
        folder, _, extras = argument.partition("[")
        if folder in self.wheels:
            wheel = self.wheels[folder]
            return f"onnxruntime[{extras} @ {wheel.as_uri()}" if extras else wheel
        name = "evakit-voice" if folder == "." else folder.rpartition("/")[2]
        return f"{name}[{extras}" if extras else name

    def pip(self, *arguments):
        options = ["--no-index", "--find-links", self.index, "--quiet", "--no-compile"]
        local = [self._local(argument) for argument in arguments]
        self._run("pip", "--python", self.python, "install", *options, *local)

    def pip_uninstall(self, *names):
        self._run("pip", "--python", self.python, "uninstall", "--quiet", "--yes", *names)

    def pip_check(self):
        return self._run("pip", "--python", self.python, "check").strip()

    def uv(self, *arguments):
        options = ["--no-index", "--find-links", self.index, "--quiet", "--no-cache"]
        at = 2 if arguments[0] == "--override" else 0
        local = [*arguments[:at], *(self._local(argument) for argument in arguments[at:])]
        self._run("uv", "pip", "install", "--python", self.python, *options, *local)

    def uv_sync(self, project):
        options = ["--no-index", "--find-links", self.index, "--quiet", "--no-cache"]
        environment = str(self.python.parents[1])
        self._run("uv", "sync", *options, cwd=project, UV_PROJECT_ENVIRONMENT=environment)

    @property
    def installed(self):
        script = "import json, sys; print(json.dumps(sys.path))"
        done = subprocess.run([self.python, "-c", script], capture_output=True, check=True)
        return look_at_packages([p for p in json.loads(done.stdout) if "site-packages" in p])

    @property
    def owners(self):
        """The distributions whose files are in `onnxruntime`, and the CUDA that it is built for."""
        found = self.installed.get("onnxruntime")
        return [owner.distribution for owner in found.owners], found.cuda and found.cuda[0]


@pytest.fixture
def site(tmp_path, index):
    return Site(tmp_path / "venv", index)


@pytest.mark.parametrize("name", SETS)
def test_one_onnxruntime_is_left_by_pip_whatever_comes_later(gpu_sets, site, name):
    site.pip(*gpu_sets.SETS[name]["pip"])
    assert site.owners == (["onnxruntime-gpu"], CUDA[name])
    site.pip("of-a-stranger")
    assert site.owners == (["onnxruntime-gpu"], CUDA[name])
    assert site.pip_check() == "No broken requirements found."
    libraries = {owner.distribution for owner in site.installed.libraries}
    assert [x for x in libraries if "cudnn" in x] == [f"nvidia-cudnn-cu{CUDA[name]}"]


@pytest.mark.parametrize("name", SETS)
def test_one_onnxruntime_is_left_by_uv(gpu_sets, site, name):
    arguments = gpu_sets.SETS[name]["uv"]
    site.uv(*arguments)
    assert site.owners == (["onnxruntime-gpu"], CUDA[name])
    site.uv(*arguments[:2], "of-a-stranger")
    assert site.owners == (["onnxruntime-gpu"], CUDA[name])


def test_one_onnxruntime_is_left_in_the_project_of_the_page(site, tmp_path):
    [project] = re.findall(
        r"^```toml\n(.*?)^```$", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL
    )
    # Its folders are not there; the wheels of the index have their requirements.
    project, _, _ = project.partition("[tool.uv.sources]")
    (tmp_path / "pyproject.toml").write_text(project, "utf-8")
    site.uv_sync(tmp_path)
    assert site.owners == (["onnxruntime-gpu"], 13)


def test_without_all_that_there_are_two(gpu_sets, site):
    site.pip(*gpu_sets.SETS["cu13"]["pip"][1:])
    assert site.owners[0] == ["onnxruntime", "onnxruntime-gpu"]


def test_what_ran_on_the_cpu_runs_on_the_gpu_once_both_are_uninstalled(gpu_sets, site):
    site.pip("./plugins/evakit-whisper", "./plugins/evakit-piper")
    assert site.owners == (["onnxruntime"], None)
    site.pip_uninstall("onnxruntime", "onnxruntime-gpu")
    site.pip(*gpu_sets.SETS["cu13"]["pip"])
    assert site.owners == (["onnxruntime-gpu"], 13)


def test_the_command_of_the_doctor_leaves_one_too(gpu_sets, site):
    site.pip(*gpu_sets.SETS["cu13"]["pip"][1:])
    site.pip_uninstall("onnxruntime", "onnxruntime-gpu")
    site.pip("onnxruntime-gpu[cuda,cudnn]>=1.28")
    assert site.owners == (["onnxruntime-gpu"], 13)
