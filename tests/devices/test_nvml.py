"""The real nvidia-ml-py, driven by an NVML that plays many machines."""

from __future__ import annotations

import sys

import pytest
from native import RTX_3060, RTX_4090, run

from evakit.devices.inventory import NvmlFailure
from evakit.devices.nvml import UNKNOWN_UUID, NvmlReading, memory_used, read_nvml, utilization

MIB = 1 << 20
SCENARIOS = (
    *("4090", "busy", "two", "lost", "gone", "forbidden", "mig", "integrated", "wsl", "exclusive"),
    *("prohibited", "garbled", "no_libcuda", "no_driver", "mismatch", "unknown", "undivided"),
    "no_memory",
)
SLICES = [f"MIG-{n * 8}-aaaa-5555-8888-000000000000" for n in "123"]

PROGRAM = """
import json, os, sys, threading
from ctypes import CDLL
from attrs import asdict
from evakit.devices.nvml import memory_used, read_nvml, utilization

assert "pynvml" not in sys.modules

def opened():
    return CDLL("libnvidia-ml.so.1").fakeOpened()
"""


def program(answer):
    return f"{PROGRAM}{answer}\n"


@pytest.fixture(scope="module")
def readings(fake_nvml):
    """Every machine as it is read, by its name."""
    code = f"""
answer = {{}}
for scenario in {SCENARIOS}:
    os.environ["FAKE_NVML"] = scenario
    answer[scenario] = asdict(read_nvml())
    assert opened() == 0, scenario
print(json.dumps(answer))
"""
    return run(program(code), fake_nvml("4090"))


def only(reading):
    (gpu,) = reading["gpus"]
    return gpu


def test_the_card_of_the_issue_is_read_as_it_is(readings):
    assert readings["4090"] == {
        "driver": {"version": "580.95.05", "cuda": [13, 0]},
        "failure": None,
        "gpus": [
            {
                "uuid": RTX_4090,
                "name": "NVIDIA GeForce RTX 4090",
                "index": 0,
                "cuda_index": None,
                "compute_capability": [8, 9],
                "memory_total": 49140 * MIB,
                "memory_free": 48688 * MIB,
                "memory_used": 1 * MIB,
                "utilization": 0,
                "pci_bus": "0000:01:00.0",
                "parent": None,
                "instance": None,
                "has_mig": False,
                "compute_mode": "default",
                "processes": [],
                "is_integrated": False,
                "lost": None,
            }
        ],
    }


@pytest.mark.parametrize(
    ("scenario", "code", "text"),
    [
        ("no_driver", 9, "Driver Not Loaded"),
        ("mismatch", 18, "RM has detected an NVML/RM version mismatch."),
        ("unknown", 999, "Unknown Error"),
    ],
)
def test_a_driver_that_does_not_answer_is_said(readings, scenario, code, text):
    failure = {"code": code, "text": text}
    assert readings[scenario] == {"driver": None, "failure": failure, "gpus": []}


def test_a_library_that_cannot_be_loaded_is_said(tmp_path):
    (tmp_path / "libnvidia-ml.so.1").write_text("not a library")
    answer = run(
        program("print(json.dumps([asdict(read_nvml()), memory_used('GPU-1')]))"), tmp_path
    )
    failure = {"code": 12, "text": "NVML Shared Library Not Found"}
    assert answer == [{"driver": None, "failure": failure, "gpus": []}, None]


def test_without_nvidia_ml_py_it_says_so(monkeypatch):
    monkeypatch.setitem(sys.modules, "pynvml", None)
    failure = NvmlFailure(code=None, text="nvidia-ml-py is not installed")
    assert read_nvml() == NvmlReading(driver=None, failure=failure)
    assert memory_used(RTX_4090) is None
    assert utilization(RTX_4090) is None


def test_gpus_are_in_the_order_of_nvml(readings):
    gpus = readings["two"]["gpus"]
    assert [(gpu["index"], gpu["uuid"]) for gpu in gpus] == [(0, RTX_4090), (1, RTX_3060)]
    assert [gpu["utilization"] for gpu in gpus] == [0, 7]
    assert [gpu["pci_bus"] for gpu in gpus] == ["0000:01:00.0", "0000:41:00.0"]


def test_a_gpu_that_is_lost_keeps_its_uuid_and_the_others_their_values(readings):
    lost, other = readings["lost"]["gpus"]
    assert (lost["uuid"], lost["index"], lost["lost"]) == (RTX_4090, 0, "GPU is lost")
    assert lost["memory_used"] is None
    assert other == readings["two"]["gpus"][1]


def test_a_gpu_without_a_handle_is_lost_and_nameless(readings):
    gone, other = readings["gone"]["gpus"]
    assert (gone["uuid"], gone["name"]) == (UNKNOWN_UUID, "unnamed GPU")
    assert (gone["index"], gone["lost"]) == (0, "GPU is lost")
    assert other == readings["two"]["gpus"][1]


def test_a_gpu_that_a_container_was_not_given_is_left_out(readings):
    assert readings["forbidden"]["failure"] is None
    assert only(readings["forbidden"]) == readings["two"]["gpus"][1]


def test_mig_instances_follow_their_gpu(readings):
    whole, *instances = readings["mig"]["gpus"]
    assert whole["has_mig"]
    assert (whole["parent"], whole["instance"], whole["utilization"]) == (None, None, None)
    assert [instance["uuid"] for instance in instances] == SLICES
    assert [instance["instance"] for instance in instances] == [[1, 0], [2, 0], [2, 1]]
    for instance in instances:
        assert instance["parent"] == whole["uuid"]
        assert instance["name"].startswith("NVIDIA A100-SXM4-40GB MIG ")
        assert (instance["memory_total"], instance["memory_used"]) == (20096 * MIB, 12 * MIB)
        assert not instance["has_mig"]
        assert not instance["is_integrated"]
        assert instance["processes"] is None
        for shared in ("index", "compute_capability", "pci_bus", "compute_mode"):
            assert instance[shared] == whole[shared]


def test_a_gpu_that_will_be_divided_at_its_next_start_is_whole(readings):
    gpu = only(readings["undivided"])
    assert (gpu["uuid"], gpu["has_mig"]) == (readings["mig"]["gpus"][0]["uuid"], False)
    assert gpu["memory_used"] == 24 * MIB


def test_processes_that_compute_and_draw_are_told_once(readings):
    assert only(readings["busy"])["processes"] == [
        {"pid": 777, "memory": 300 * MIB, "name": None},
        {"pid": 4242, "memory": 20480 * MIB, "name": None},
        {"pid": 31337, "memory": 512 * MIB, "name": None},
    ]


def test_processes_whose_memory_is_not_told_are_told_without(readings):
    assert only(readings["wsl"])["processes"] == [{"pid": 26, "memory": None, "name": None}]


@pytest.mark.parametrize("scenario", ["integrated", "no_memory"])
def test_a_gpu_without_memory_of_its_own_is_integrated(readings, scenario):
    gpu = only(readings[scenario])
    assert gpu["is_integrated"]
    assert [gpu[f"memory_{what}"] for what in ("total", "free", "used")] == [None] * 3


def test_a_bus_beyond_the_first_domain_is_written_as_the_kernel_does(readings):
    assert only(readings["integrated"])["pci_bus"] == "001f:01:00.0"


@pytest.mark.parametrize("mode", ["exclusive", "prohibited"])
def test_the_compute_mode_is_told(readings, mode):
    assert only(readings[mode]) == {**only(readings["4090"]), "compute_mode": mode}


def test_a_name_that_cannot_be_read_is_none(readings):
    assert only(readings["garbled"]) == {**only(readings["4090"]), "name": "unnamed GPU"}


def test_without_libcuda_the_version_of_cuda_is_unknown(readings):
    assert readings["no_libcuda"]["driver"] == {"version": "580.95.05", "cuda": None}
    assert readings["no_libcuda"]["gpus"] == readings["4090"]["gpus"]


def test_an_old_driver_is_read_without_the_newer_functions(fake_nvml):
    reading = run(program("print(json.dumps(asdict(read_nvml())))"), fake_nvml("old_driver"))
    assert reading["driver"] == {"version": "470.256.02", "cuda": [11, 4]}
    gpu = only(reading)
    assert (gpu["name"], gpu["compute_capability"]) == ("NVIDIA GeForce GTX 1080", [6, 1])
    # What the driver holds for itself, 86 MiB, it counts as used.
    assert (gpu["memory_total"], gpu["memory_used"]) == (8192 * MIB, 286 * MIB)
    assert (gpu["has_mig"], gpu["processes"], gpu["is_integrated"]) == (False, None, False)


def test_a_module_of_an_older_distribution_tells_what_it_can(readings, fake_nvml):
    code = """
import pynvml
for name in dir(pynvml):
    if "Mig" in name or "MIG" in name or name.endswith("Processes_v3") or name == "nvmlMemory_v2":
        delattr(pynvml, name)
del pynvml.nvmlDeviceGetComputeMode
print(json.dumps(asdict(read_nvml())))
"""
    older = {"processes": None, "compute_mode": None, "memory_used": 452 * MIB}
    reading = run(program(code), fake_nvml("4090"))
    assert only(reading) == {**only(readings["4090"]), **older}


METRICS = {
    "nvmlDeviceGetName": {"name": "unnamed GPU"},
    "nvmlDeviceGetCudaComputeCapability": {"compute_capability": None},
    "nvmlDeviceGetPciInfo_v3": {"pci_bus": None},
    "nvmlDeviceGetComputeMode": {"compute_mode": None},
    "nvmlDeviceGetUtilizationRates": {"utilization": None},
    "nvmlDeviceGetComputeRunningProcesses_v3": {"processes": None},
    "nvmlDeviceGetGraphicsRunningProcesses_v3": {},
    "nvmlDeviceGetMigMode": {},
    "nvmlDeviceGetMemoryInfo_v2": {"memory_used": 452 * MIB},
    "nvmlDeviceGetMemoryInfo": {},
    "nvmlDeviceGetUUID": {"uuid": UNKNOWN_UUID},
}


# That a GPU is lost is told by the others; and the older call is not made after the newer one.
NOT_NEEDED = {"nvmlDeviceGetUUID", "nvmlDeviceGetMemoryInfo"}


@pytest.fixture(scope="module")
def failures(fake_nvml):
    """What is read where one function fails, by the function and NVML's error."""
    code = f"""
answer = {{}}
for function in {list(METRICS)}:
    for code in (3, 4, 13, 999, 15, 16):
        os.environ["FAKE_NVML_FAIL"] = f"{{function}}={{code}}"
        answer[f"{{function}} {{code}}"] = asdict(read_nvml())
        assert opened() == 0
os.environ["FAKE_NVML_FAIL"] = "nvmlDeviceGetMemoryInfo_v2=4,nvmlDeviceGetMemoryInfo=4"
answer["memory"] = asdict(read_nvml())
os.environ["FAKE_NVML_FAIL"] = "nvmlDeviceGetMemoryInfo_v2=4,nvmlDeviceGetMemoryInfo=15"
answer["memory lost"] = asdict(read_nvml())
os.environ["FAKE_NVML_FAIL"] = "nvmlDeviceGetCount_v2=999"
answer["count"] = asdict(read_nvml())
os.environ["FAKE_NVML_FAIL"] = "nvmlSystemGetDriverVersion=999"
answer["version"] = asdict(read_nvml())
assert opened() == 0
print(json.dumps(answer))
"""
    return run(program(code), fake_nvml("4090"))


@pytest.mark.parametrize("code", [3, 4, 13, 999])
@pytest.mark.parametrize("function", METRICS)
def test_what_one_function_does_not_tell_is_unknown_and_nothing_else(
    readings, failures, function, code
):
    whole = only(readings["4090"])
    assert only(failures[f"{function} {code}"]) == {**whole, **METRICS[function]}


@pytest.mark.parametrize("code", [15, 16])
@pytest.mark.parametrize("function", sorted({*METRICS} - NOT_NEEDED))
def test_a_gpu_that_is_lost_while_it_is_read_is_lost(failures, function, code):
    gpu = only(failures[f"{function} {code}"])
    assert gpu["lost"] == {15: "GPU is lost", 16: "GPU requires restart"}[code]
    assert gpu["uuid"] == RTX_4090
    assert gpu["memory_total"] is None


def test_memory_that_may_not_be_asked_for_is_unknown_and_not_shared(readings, failures):
    unknown = dict.fromkeys(["memory_total", "memory_free", "memory_used"])
    assert only(failures["memory"]) == {**only(readings["4090"]), **unknown}


def test_a_gpu_that_is_lost_as_its_memory_is_asked_for_again_is_lost(failures):
    assert only(failures["memory lost"])["lost"] == "GPU is lost"


def test_a_driver_that_fails_after_it_was_opened_is_said(failures):
    failure = {"code": 999, "text": "Unknown Error"}
    assert failures["count"] == {"driver": None, "failure": failure, "gpus": []}


def test_a_version_that_is_not_told_is_unknown(readings, failures):
    assert failures["version"]["driver"] == {"version": None, "cuda": [13, 0]}
    assert failures["version"]["gpus"] == readings["4090"]["gpus"]


@pytest.fixture(scope="module")
def divided(fake_nvml):
    """The divided GPU where some functions fail, by these and NVML's errors."""
    code = f"""
answer = {{}}
for failing in {DIVIDED}:
    os.environ["FAKE_NVML_FAIL"] = failing
    answer[failing] = asdict(read_nvml())["gpus"]
    assert opened() == 0
print(json.dumps(answer))
"""
    return run(program(code), fake_nvml("mig"))


NO_MEMORY = "nvmlDeviceGetMemoryInfo_v2=3,nvmlDeviceGetMemoryInfo=3"
DIVIDED = (
    NO_MEMORY,
    "nvmlDeviceGetName=4",
    "nvmlDeviceGetGpuInstanceId=3",
    *(f"nvmlDeviceGetMaxMigDeviceCount={code}" for code in (3, 15)),
    *(f"nvmlDeviceGetMigDeviceHandleByIndex={code}" for code in (2, 999, 15)),
)


def test_a_divided_gpu_whose_memory_is_not_told_is_not_integrated(divided):
    assert [gpu["memory_total"] for gpu in divided[NO_MEMORY]] == [None] * 4
    assert not any(gpu["is_integrated"] for gpu in divided[NO_MEMORY])


def test_what_an_instance_does_not_tell_is_unknown_and_nothing_else(readings, divided):
    gpus = readings["mig"]["gpus"]
    unnamed = [{**gpu, "name": "unnamed GPU"} for gpu in gpus]
    assert divided["nvmlDeviceGetName=4"] == unnamed
    assert divided["nvmlDeviceGetGpuInstanceId=3"] == [{**gpu, "instance": None} for gpu in gpus]


@pytest.mark.parametrize(
    "failing",
    [
        "nvmlDeviceGetMaxMigDeviceCount=3",
        "nvmlDeviceGetMigDeviceHandleByIndex=2",
        "nvmlDeviceGetMigDeviceHandleByIndex=999",
    ],
)
def test_instances_that_are_not_told_are_left_out(readings, divided, failing):
    assert divided[failing] == readings["mig"]["gpus"][:1]


@pytest.mark.parametrize("function", ["MaxMigDeviceCount", "MigDeviceHandleByIndex"])
def test_a_divided_gpu_that_is_lost_has_no_instances(divided, function):
    (gpu,) = divided[f"nvmlDeviceGet{function}=15"]
    assert (gpu["lost"], gpu["has_mig"]) == ("GPU is lost", False)


def test_one_gpu_is_asked_by_its_uuid(fake_nvml):
    code = f"""
answer = []
for scenario, uuid in (
    ("two", "{RTX_4090}"), ("two", "{RTX_3060}"), ("mig", "{SLICES[1]}"),
    ("two", "GPU-no-such"), ("lost", "{RTX_4090}"), ("gone", "{RTX_4090}"), ("no_driver", "GPU-1"),
):
    os.environ["FAKE_NVML"] = scenario
    answer.append([memory_used(uuid), utilization(uuid)])
    assert opened() == 0
os.environ.update(FAKE_NVML="4090", FAKE_NVML_USED="3000")
answer.append([memory_used("{RTX_4090}"), utilization("{RTX_4090}")])
print(json.dumps(answer))
"""
    assert run(program(code), fake_nvml("4090")) == [
        [1 * MIB, 0],
        [512 * MIB, 7],
        [12 * MIB, None],
        *[[None, None]] * 4,
        [3000 * MIB, 0],
    ]


def test_nvml_is_left_as_it_was_found(fake_nvml):
    code = f"""
import pynvml
pynvml.nvmlInit()
read_nvml(), memory_used("{RTX_4090}"), utilization("{RTX_4090}"), memory_used("GPU-no-such")
os.environ["FAKE_NVML"] = "lost"
read_nvml(), memory_used("{RTX_4090}")
print(json.dumps([opened(), pynvml.nvmlDeviceGetCount()]))
"""
    assert run(program(code), fake_nvml("4090")) == [1, 2]


def test_several_threads_may_ask_at_once(fake_nvml):
    code = f"""
from concurrent.futures import ThreadPoolExecutor

start = threading.Barrier(8)

def ask(n):
    start.wait()
    return [(asdict(read_nvml()), memory_used("{RTX_4090}")) for _ in range(20)]

with ThreadPoolExecutor(8) as pool:
    answers = [repr(answer) for answers in pool.map(ask, range(8)) for answer in answers]
ever = CDLL("libnvidia-ml.so.1").fakeEverOpened()
print(json.dumps([len(answers), len(set(answers)), opened(), ever]))
"""
    assert run(program(code), fake_nvml("two")) == [160, 1, 0, 320]
