"""`evakit doctor`: the blocker, then the command that cures it; real command, made machines."""

from __future__ import annotations

import json
import os
import re
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from evakit.abc import Capabilities
from evakit.cli import console, deep
from evakit.devices import DeviceManager
from evakit.devices.instruments import Instruments
from evakit.errors import ModelError
from evakit.registry import BackendSpec, Registry
from evakit.testing import PlacedTTS, SimulatedMachine, SimulatedModel, rtx_4090

sys.path.insert(0, str(Path(__file__).parents[1] / "devices"))

from machines import ISSUE, NO_BINDINGS, NO_GPU, NO_LIBRARY, machine
from made_site import ORT_GPU, MadeSite, onnxruntime, torch
from native import environment, fake_nvml

__all__ = ["fake_nvml"]

ENGINES = ("torch", "onnxruntime", "ctranslate2", "xllamacpp", "faster_whisper", "piper")
BOTH = Capabilities(devices={"cpu", "cuda"})
TORCH = "pip uninstall -y torch torchvision torchaudio && pip install"
INDEX = "torch --index-url https://download.pytorch.org/whl/cu130"


@pytest.fixture(autouse=True)
def _a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def site(tmp_path):
    return MadeSite(tmp_path / "site-packages")


@pytest.fixture
def command(site):
    """Run the real command in a process of its own, where `folder` has the driver's libraries."""

    def run(folder, *arguments, code="from evakit.cli import main; main()", **variables):
        mine = {
            "PYTHONPATH": str(site.folder),
            "PIP_CONFIG_FILE": os.devnull,
            "UV_NO_CONFIG": "1",
            "COLUMNS": "400",
            **variables,
        }
        env = environment(folder, **mine)
        for name in list(env):
            if name.startswith(("PIP_", "UV_")) and name not in mine:
                del env[name]
        return subprocess.run(
            [sys.executable, "-c", code, "doctor", *arguments],
            env=env,
            capture_output=True,
            text=True,
            check=False,
        )

    return run


@pytest.fixture
def doctor(evakit_command, monkeypatch):
    """Run the command in this process, on a machine that is a value."""
    monkeypatch.setattr(console.out, "_width", 400)

    def call(made, *arguments):
        monkeypatch.setattr(Instruments, "machine", lambda _self: made)
        return evakit_command("doctor", *arguments)

    return call


def test_on_the_machine_of_the_issue_the_first_line_is_the_blocker_and_the_next_its_cure(
    command, fake_nvml, site
):
    site.install("torch", "2.9.1+cpu", torch("2.9.1+cpu"))
    done = command(fake_nvml("4090"))

    assert (done.returncode, done.stderr) == (1, "")
    first, second, third, *rest = done.stdout.splitlines()
    assert first == "Blocker: the PyTorch that is installed was built without CUDA"
    assert second == f"{TORCH} {INDEX}"
    assert third == (
        "with uv: uv pip uninstall torch torchvision torchaudio && "
        "uv pip install torch --torch-backend=cu130"
    )
    said = "\n".join(rest)
    assert "torch/version.py: __version__ = 2.9.1+cpu, cuda = None" in said
    assert "cuda:0       NVIDIA GeForce RTX 4090, 1 of 49140 MiB used, 0 % busy" in said
    assert "driver       580.95.05, for CUDA up to 13.0" in said


def test_a_terminal_that_is_narrow_does_not_break_the_command(command, fake_nvml, site):
    site.install("torch", "2.9.1+cpu", torch("2.9.1+cpu"))
    done = command(fake_nvml("4090"), COLUMNS="40")
    assert done.stdout.splitlines()[1] == f"{TORCH} {INDEX}"


def test_the_same_as_json(command, fake_nvml, site):
    site.install("torch", "2.9.1+cpu", torch("2.9.1+cpu"))
    folder = site.folder.parent / "wheels"
    folder.mkdir()
    (folder / "torch-2.9.1+cpu-py3-none-any.whl").touch()
    done = command(fake_nvml("4090"), "--json", PIP_FIND_LINKS=str(folder))

    assert (done.returncode, done.stderr) == (1, "")
    said = json.loads(done.stdout)
    assert said["exit_code"] == 1
    first = said["findings"][0]
    assert (first["code"], first["severity"]) == ("torch-cpu-wheel", "blocker")
    assert first["error"] == "WheelFlavourError"
    assert f"PIP_FIND_LINKS={folder}" in first["evidence"]
    assert first["fix"][0]["pip"] == f"{TORCH} --isolated {INDEX}"
    assert first["fix"][1]["shell"] == "unset PIP_FIND_LINKS"
    (gpu,) = said["machine"]["gpus"]
    assert (gpu["memory_total"], gpu["memory_used"]) == (49140 * 2**20, 2**20)


@pytest.mark.parametrize(
    ("scenario", "code", "status"),
    [
        ("lost", "gpu-lost", 1),
        ("mismatch", "driver-mismatch", 1),
        ("exclusive", "compute-mode", 1),
        ("prohibited", "compute-mode", 1),
        ("old_driver", "driver-too-old", 1),
    ],
)
def test_what_the_driver_says_is_found(command, fake_nvml, scenario, code, status):
    done = command(fake_nvml(scenario), "--json")
    assert (done.returncode, done.stderr) == (status, "")
    assert code in [finding["code"] for finding in json.loads(done.stdout)["findings"]]


def test_a_hidden_gpu_is_found(command, fake_nvml):
    done = command(fake_nvml("4090"), CUDA_VISIBLE_DEVICES="")
    assert done.returncode == 1
    assert done.stdout.splitlines()[:2] == [
        "Blocker: CUDA_VISIBLE_DEVICES hides every GPU from this program",
        "unset CUDA_VISIBLE_DEVICES",
    ]


def test_two_wheels_over_each_other_are_found(command, fake_nvml, site):
    site.install("onnxruntime-gpu", "1.31.1", onnxruntime(ORT_GPU))
    site.install("onnxruntime", "1.32.0", onnxruntime(ORT_GPU.replace("-gpu", "")[:-22]))
    done = command(fake_nvml("4090"), "--json")
    finding = json.loads(done.stdout)["findings"][0]
    assert finding["code"] == "onnxruntime-shadowed"
    assert "onnxruntime 1.32.0, onnxruntime-gpu 1.31.1" in finding["evidence"]


def test_no_engine_is_imported(command, fake_nvml):
    code = (
        "import atexit, sys; from evakit.cli import main\n"
        f"atexit.register(lambda: print(sorted(set(sys.modules) & {set(ENGINES)!r})))\n"
        "main()"
    )
    assert command(fake_nvml("4090"), code=code).stdout.splitlines()[-1] == "[]"


def test_all_of_it_takes_less_than_half_a_second(command, fake_nvml, tmp_path):
    # Of the processor, since others may be using it; compiled once, as in an installation.
    installed = {"PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": str(tmp_path / "compiled")}
    took = []
    for _ in range(6):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        assert command(fake_nvml("4090"), **installed).returncode == 1
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        took.append(after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime)
    assert min(took) < 0.5


def test_a_machine_that_is_in_order_is_one_line_and_then_what_was_looked_at(doctor):
    status, out, err = doctor(machine())
    assert (status, err) == (0, "")
    first, empty, *rest = out.splitlines()
    assert first.startswith("Healthy: nothing keeps PyTorch, ONNX Runtime, CTranslate2, xllamacpp")
    assert empty == ""
    rows = dict(line.split(maxsplit=1) for line in rest[1:])
    assert rows["asked"].split() == ["for", "auto"]
    assert rows["onnxruntime"].strip() == "ONNX Runtime 1.31.1, built for CUDA 13.0"


def test_without_a_gpu_nothing_is_wrong_until_one_is_required(doctor):
    made = machine(host=NO_GPU, nvml=NO_LIBRARY)
    assert doctor(made)[:2] == (0, doctor(made)[1])
    assert doctor(made)[1].startswith("Healthy: there is no NVIDIA GPU here")
    status, out, _ = doctor(made, "--require", "cuda")
    assert status == 1
    assert out.splitlines()[0] == "Blocker: this machine has no NVIDIA GPU"
    assert out.splitlines()[1].startswith("ask for device 'auto' or 'cpu'")


def test_what_could_not_be_told_ends_with_2(doctor):
    status, out, _ = doctor(machine(nvml=NO_BINDINGS))
    assert status == 2
    assert out.splitlines()[:3] == [
        "Unknown: the GPUs cannot be looked at, since nvidia-ml-py is not installed",
        "pip install nvidia-ml-py",
        "with uv: uv pip install nvidia-ml-py",
    ]


def test_the_settings_decide_what_is_asked_for(doctor, monkeypatch):
    made = machine(host=NO_GPU, nvml=NO_LIBRARY)
    Path("evakit.toml").write_text('device = "cuda"\n', "utf-8")
    assert doctor(made)[0] == 1
    monkeypatch.setenv("EVAKIT_DEVICE", "cpu")
    status, out, _ = doctor(ISSUE)
    assert (status, out.splitlines()[0]) == (
        0,
        "Healthy: everything runs on the CPU, as it was asked to.",
    )
    assert doctor(made, "--require", "cuda:1")[0] == 1


def test_settings_that_make_no_sense_are_found_and_keep_nothing_from_being_looked_at(doctor):
    Path("evakit.toml").write_text("devise = 'cuda'\n", "utf-8")
    status, out, _ = doctor(machine(host=NO_GPU, nvml=NO_LIBRARY), "--json")
    assert status == 1
    (finding,) = json.loads(out)["findings"]
    assert finding["code"] == "settings"
    assert "evakit.toml, line 1" in finding["evidence"]
    status, out, _ = doctor(ISSUE, "--json")
    assert json.loads(out)["findings"][0]["code"] == "torch-cpu-wheel"


@pytest.mark.parametrize("device", ["cpu", "auto", "gpu", "cuda:x"])
def test_only_a_gpu_can_be_required(doctor, device):
    status, _, err = doctor(machine(), "--require", device)
    assert status == 2
    assert f"'{device}' is no GPU; write 'cuda', 'cuda:0' or a GPU's UUID." in err


def test_another_project_that_owns_the_import_package_is_found(doctor, monkeypatch, site):
    site.install("evakit", "9.1", {"evakit/__init__.py": ""})
    monkeypatch.syspath_prepend(site.folder)
    status, out, _ = doctor(machine(), "--json")
    (finding,) = json.loads(out)["findings"]
    assert (status, finding["code"], finding["severity"]) == (1, "evakit-name", "warning")
    assert finding["evidence"] == f"they are listed in {site.folder / 'evakit-9.1.dist-info'}"
    assert finding["fix"][0]["pip"] == "pip uninstall -y evakit"
    assert finding["fix"][0]["uv"] == "uv pip uninstall evakit"


def test_where_two_own_it_ours_is_installed_again(doctor, monkeypatch, site):
    site.install("evakit-voice", "0.1.0", {"evakit/__init__.py": ""})
    monkeypatch.syspath_prepend(site.folder)
    assert doctor(machine())[0] == 0
    site.install("evakit", "9.1", {"evakit/__init__.py": ""})
    (finding,) = json.loads(doctor(machine(), "--json")[1])["findings"]
    again = "--no-deps evakit-voice==0.1.0"
    assert finding["fix"][0]["pip"] == (
        f"pip uninstall -y evakit && pip install --force-reinstall {again}"
    )
    assert finding["fix"][0]["uv"] == (
        f"uv pip uninstall evakit && uv pip install --reinstall {again}"
    )


def test_everything_that_was_found_is_listed_with_every_cure(doctor):
    _, out, _ = doctor(ISSUE)
    for text in (
        "blocker   torch-cpu-wheel        the PyTorch that is installed was built without CUDA",
        "torch-cpu-wheel: install the build of PyTorch for CUDA 13.0",
        "torch-cpu-wheel: take away the setting that prefers builds for the CPU",
        "    unset PIP_EXTRA_INDEX_URL",
        "onnxruntime-cpu-wheel: leave only the ONNX Runtime for CUDA 13",
        '    pip uninstall -y onnxruntime onnxruntime-gpu && pip install "onnxruntime-gpu[cuda,',
    ):
        assert text in out


# --- deep


def test_deep_loads_every_backend_that_is_installed_and_proves_it(doctor):
    made = machine(host=NO_GPU, nvml=NO_LIBRARY)
    status, out, _ = doctor(made, "--deep", "--json")
    trials = {trial["component"]: trial for trial in json.loads(out)["trials"]}
    assert status == 0
    assert {name.split()[1] for name in trials} >= {"whisper", "silero", "llamacpp", "piper"}
    for name, trial in trials.items():
        label = "cpu (by design)" if "silero" in name else "cpu (degraded)"
        assert (trial["label"], trial["proof"]["verdict"]) == (label, "proven"), name
        assert trial["warm_up"]["rate"] > 0
        assert trial["on_cpu"] is None


def test_deep_for_people_is_a_table_with_the_evidence_below(doctor):
    status, out, _ = doctor(machine(host=NO_GPU, nvml=NO_LIBRARY), "--deep")
    assert status == 0
    assert re.search(r"^loaded +runs on +proof +warm-up +on the CPU$", out, re.MULTILINE)
    assert re.search(
        r"^tts piper joe +cpu \(degraded\) +proven +[\d.]+ s of audio", out, re.MULTILINE
    )
    assert "tts piper joe, observed: ONNX Runtime put" in out


@pytest.fixture
def simulated(doctor, monkeypatch):
    """Run it on a machine with a GPU, where one backend is installed that can use it."""

    def call(*arguments, **flaws):
        gpu = SimulatedMachine(rtx_4090())
        registry = Registry()

        def make():
            return PlacedTTS(SimulatedModel(machine=gpu, **flaws))

        registry.add(BackendSpec(kind="tts", name="placed", factory=make, capabilities=BOTH))
        monkeypatch.setattr("evakit.cli.doctor.discover", lambda: registry)
        monkeypatch.setattr(deep, "DeviceManager", lambda: DeviceManager(instruments=gpu))
        return doctor(gpu.machine(), *arguments)

    return call


def test_what_is_proven_on_a_gpu_stands_beside_the_same_on_the_cpu(simulated):
    status, out, _ = simulated("--deep", "--json")
    (trial,) = json.loads(out)["trials"]
    assert status == 0
    assert (trial["component"], trial["label"]) == ("tts placed", "cuda:0")
    assert trial["on_cpu"]["rate"] == trial["warm_up"]["rate"] == 8.0


def test_what_cannot_be_proven_where_it_is_required_is_a_blocker(simulated):
    status, out, _ = simulated("--deep", "--json", "--require", "cuda", opens_context=False)
    (finding,) = json.loads(out)["findings"]
    assert status == 1
    assert (finding["code"], finding["error"]) == ("not-proven", "SilentFallbackError")
    assert "no active CUDA context" in finding["evidence"]


def test_what_cannot_be_loaded_for_another_reason_could_not_be_told(simulated):
    damaged = ModelError("Its file is damaged; fetch it again.", model="placed")
    status, out, _ = simulated("--deep", "--json", fails=damaged)
    (finding,) = json.loads(out)["findings"]
    assert (status, finding["code"], finding["severity"]) == (2, "not-tried", "unknown")
    assert finding["evidence"] == "Its file is damaged; fetch it again"
