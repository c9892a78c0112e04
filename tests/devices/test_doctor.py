"""The doctor puts what was found in order, ends with the right status, and says it as JSON."""

from __future__ import annotations

import json

import pytest
from attrs import evolve
from hypothesis import given
from machines import (
    CPU_WHEELS,
    ISSUE,
    NO_BINDINGS,
    NO_GPU,
    NO_LIBRARY,
    RTX_4090,
    ctranslate2,
    healthy,
    llamacpp,
    machine,
    machines,
    onnxruntime,
    replaced,
    torch,
)

from evakit.devices.device import Device
from evakit.devices.doctor import Diagnosis, Trial, examine
from evakit.devices.evidence import Evidence, Strength, WarmUp, judge
from evakit.devices.finding import Finding, Severity
from evakit.devices.installed import Owner
from evakit.devices.inventory import Driver, GpuProcess
from evakit.errors import WheelFlavourError

SETTINGS = Finding(
    code="settings", severity=Severity.WARNING, what="they make no sense", evidence="evakit.toml"
)


def codes(diagnosis):
    return [finding.code for finding in diagnosis.findings]


def test_on_the_machine_of_the_issue_the_wheel_comes_first():
    diagnosis = examine(ISSUE)
    assert codes(diagnosis) == ["torch-cpu-wheel", "onnxruntime-cpu-wheel"]
    assert diagnosis.findings[0].error is WheelFlavourError
    assert diagnosis.exit_code == 1
    assert diagnosis.usable == ("ctranslate2",)
    first, second, *_ = str(diagnosis).splitlines()
    assert first.startswith("blocker: the PyTorch that is installed was built without CUDA (")
    assert "pip uninstall -y torch torchvision torchaudio && pip install" in second
    assert "(with uv: uv pip uninstall torch" in second


@pytest.mark.parametrize("name", healthy())
def test_a_healthy_machine_ends_with_0_and_one_line(name):
    made, device = healthy()[name]
    diagnosis = examine(made, device=device)
    assert diagnosis.findings == ()
    assert diagnosis.exit_code == 0
    assert str(diagnosis) == diagnosis.summary
    assert diagnosis.summary.startswith("Healthy")
    assert "\n" not in diagnosis.summary
    assert "RTX" not in diagnosis.summary  # nothing was loaded, so nothing is on it


@pytest.mark.parametrize(
    ("made", "device", "said"),
    [
        (machine(), "cpu", "everything runs on the CPU"),
        (machine(host=NO_GPU, nvml=NO_LIBRARY), "auto", "no NVIDIA GPU here"),
        (machine(wheels=()), "auto", "no engine is installed"),
        (machine(), "auto", "keeps PyTorch, ONNX Runtime, CTranslate2, xllamacpp from cuda:0"),
        (healthy()["a Jetson with its own wheels"][0], "auto", "loading a model says where"),
    ],
)
def test_a_healthy_machine_says_what_can_run_where(made, device, said):
    assert said in examine(made, device=device).summary


def test_what_keeps_every_engine_away_comes_before_what_keeps_one():
    made = machine(
        host={"visible_devices": ""},
        gpus=(evolve(RTX_4090, cuda_index=None),),
        wheels=(*CPU_WHEELS, ctranslate2()),
    )
    diagnosis = examine(made)
    assert codes(diagnosis) == [
        "gpu-hidden",
        "torch-cpu-wheel",
        "onnxruntime-cpu-wheel",
        "llamacpp-cpu-wheel",
    ]
    assert diagnosis.usable == ()


def test_blockers_come_before_warnings_before_what_could_not_be_told():
    made = machine(
        gpus=(evolve(RTX_4090, compute_mode="exclusive"),),
        wheels=replaced(
            evolve(llamacpp(), is_cpu_only=None), onnxruntime("1.32.0", None, "onnxruntime-gpu")
        ),
    )
    diagnosis = examine(made, extra=[SETTINGS])
    assert codes(diagnosis) == [
        "onnxruntime-shadowed",
        "compute-mode",
        "settings",
        "llamacpp-build-unknown",
    ]


def test_what_two_engines_share_is_said_once():
    owners = [Owner("nvidia-cudnn-cu12", "9.1"), Owner("nvidia-cudnn-cu13", "9.1")]
    assert codes(examine(machine(libraries=owners))) == ["cudnn-two-owners"]


@pytest.mark.parametrize(
    ("made", "asked", "status"),
    [
        (machine(), {}, 0),
        (ISSUE, {}, 1),
        (machine(gpus=(evolve(RTX_4090, compute_mode="exclusive"),)), {}, 1),
        (machine(nvml=NO_BINDINGS), {}, 2),
        (machine(nvml=NO_BINDINGS, wheels=CPU_WHEELS), {}, 1),
        (machine(), {"extra": [SETTINGS]}, 1),
        (machine(host=NO_GPU, nvml=NO_LIBRARY, wheels=CPU_WHEELS), {}, 0),
        (machine(host=NO_GPU, nvml=NO_LIBRARY, wheels=CPU_WHEELS), {"device": "cuda"}, 1),
        (machine(host=NO_GPU, nvml=NO_LIBRARY, wheels=CPU_WHEELS), {"require": "cuda"}, 1),
        (ISSUE, {"device": "cpu"}, 0),
        (ISSUE, {"device": "cpu", "require": "cuda"}, 1),
        (machine(), {"require": "cuda:1"}, 1),
    ],
)
def test_the_status_says_healthy_found_or_could_not_be_told(made, asked, status):
    assert examine(made, **asked).exit_code == status


def test_an_engine_that_no_backend_uses_may_be_built_for_the_cpu():
    made = machine(wheels=(torch(), onnxruntime("1.32.0", None)))
    assert codes(examine(made)) == ["onnxruntime-cpu-wheel"]
    assert codes(examine(made, engines={"torch", "ctranslate2"})) == []


def test_without_a_gpu_nobody_is_told_to_install_builds_for_one():
    made = machine(host=NO_GPU, nvml=NO_LIBRARY, wheels=CPU_WHEELS)
    assert codes(examine(made, require="cuda")) == ["no-gpu"]


def test_a_package_of_which_nothing_is_left_is_found_on_the_cpu_too():
    wheel = evolve(onnxruntime("1.32.0", None), folder=None, evidence="it is gone")
    made = machine(host=NO_GPU, nvml=NO_LIBRARY, wheels=(wheel,))
    for device in ("cpu", "auto"):
        assert codes(examine(made, device=device)) == ["onnxruntime-broken"]


def test_only_the_gpu_that_is_asked_for_has_to_suit():
    old = evolve(
        RTX_4090, uuid="GPU-1080", index=1, cuda_index=1, compute_capability=(6, 1), name="GTX 1080"
    )
    made = machine(gpus=(RTX_4090, old), wheels=(torch(),))
    assert examine(made, require="cuda:0").exit_code == 0
    (finding,) = examine(made, require="cuda:1").findings
    assert (finding.code, finding.severity) == ("arch-unsupported", Severity.BLOCKER)
    (finding,) = examine(made, require="cuda").findings
    assert (finding.code, finding.severity) == ("arch-unsupported", Severity.WARNING)


def keys(value):
    """The keys of JSON objects, all the way down; those of a list are those of its first."""
    if isinstance(value, dict):
        return {key: keys(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [keys(value[0])] if value else []
    return None


def test_the_json_has_these_keys_and_no_others():
    process = GpuProcess(pid=1, memory=None)
    made = machine(
        gpus=(evolve(RTX_4090, processes=(process,)),),
        wheels=(torch("2.9.1+cpu", None),),
        libraries=[Owner("nvidia-cublas", "13.1")],
    )
    seen = Evidence(
        kind="model", strength=Strength.OBSERVED, device=Device("cuda:0"), says="it is there"
    )
    done = WarmUp(seconds=0.5, amount=2.0, unit="s of audio")
    proof = judge(Device("cuda:0"), [seen])
    trial = Trial(component="tts piper", label="cuda:0", proof=proof, warm_up=done, on_cpu=done)
    diagnosis = evolve(examine(made), trials=[trial])
    said = json.loads(json.dumps(diagnosis.to_json()))
    assert keys(said) == {
        "device": None,
        "exit_code": None,
        "findings": [
            {
                "code": None,
                "severity": None,
                "what": None,
                "evidence": None,
                "fix": [{"what": None, "pip": None, "uv": None, "shell": None}],
                "engine": None,
                "error": None,
            }
        ],
        "usable": [],
        "trials": [
            {
                "component": None,
                "label": None,
                "proof": keys(proof.to_json()),
                "warm_up": {"seconds": None, "amount": None, "unit": None, "rate": None},
                "on_cpu": {"seconds": None, "amount": None, "unit": None, "rate": None},
            }
        ],
        "machine": {
            "host": {
                "system": None,
                "machine": None,
                "nvidia_pci": [None],
                "kernel_driver": None,
                "container": None,
                "device_nodes": [None],
                "is_wsl": None,
                "is_tegra": None,
                "is_secure_boot": None,
                "visible_devices": None,
                "device_order": None,
            },
            "driver": {"version": None, "cuda": None},
            "nvml": None,
            "gpus": [
                {
                    "uuid": None,
                    "name": None,
                    "index": None,
                    "device": None,
                    "compute_capability": None,
                    "memory_total": None,
                    "memory_free": None,
                    "memory_used": None,
                    "utilization": None,
                    "pci_bus": None,
                    "parent": None,
                    "has_mig": None,
                    "compute_mode": None,
                    "processes": [{"pid": None, "memory": None, "name": None}],
                    "is_integrated": None,
                    "lost": None,
                }
            ],
            "engines": [
                {
                    "engine": None,
                    "package": None,
                    "version": None,
                    "folder": None,
                    "cuda": None,
                    "is_cpu_only": None,
                    "evidence": None,
                    "owners": [None],
                }
            ],
            "libraries": [None],
            "system_libraries": [],
            "index_settings": [],
        },
    }
    assert said["machine"]["driver"] == {"version": "580.95.05", "cuda": "13.0"}
    assert said["machine"]["gpus"][0]["device"] == "cuda:0"
    assert said["machine"]["libraries"] == ["nvidia-cublas 13.1"]


def test_why_nvml_did_not_answer_is_in_the_json():
    said = examine(machine(nvml=NO_LIBRARY)).to_json()["machine"]
    assert said["nvml"] == {"code": 12, "text": "NVML Shared Library Not Found"}
    assert (said["driver"], said["gpus"]) == (None, [])


@given(machines())
def test_every_machine_has_a_diagnosis_that_is_json_and_text(made):
    for asked in ({}, {"device": "cpu"}, {"require": "cuda:0"}):
        diagnosis = examine(made, **asked)
        assert json.loads(json.dumps(diagnosis.to_json()))["exit_code"] == diagnosis.exit_code
        assert str(diagnosis)
        assert len(set(diagnosis.findings)) == len(diagnosis.findings)
        assert diagnosis.exit_code in {0, 1, 2}


def test_a_diagnosis_is_a_value():
    driver = Driver(version="1", cuda=None)
    assert examine(machine(driver=driver)) == examine(machine(driver=driver))
    assert Diagnosis(machine=ISSUE, device="auto").exit_code == 0
