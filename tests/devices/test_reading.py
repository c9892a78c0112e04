"""Host and NVML together, and which GPU is `cuda:N` in this process."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from native import RTX_3060, RTX_4090, run

from evakit.devices import cuda, reading
from evakit.devices.inventory import Driver, Gpu, GpuProcess, NvmlFailure
from evakit.devices.nvml import UNKNOWN_UUID, NvmlReading
from evakit.devices.reading import pin_device_order, take_inventory, visible_order

SLICES = [f"MIG-{n * 8}-aaaa-5555-8888-000000000000" for n in "123"]


def gpu(index, *, lost=None, uuid=None):
    uuid = uuid or f"GPU-{index:08x}-1111-2222-3333-444455556666"
    return Gpu(uuid=uuid, name="card", index=index, lost=lost)


def divided(index, *places):
    """A GPU with MIG instances, each of a GPU instance and a compute instance."""
    whole = Gpu(uuid=gpu(index).uuid, name="card", index=index, has_mig=True)
    return [
        whole,
        *(
            Gpu(
                uuid=f"MIG-{index:04x}{a:02x}{b:02x}-1111-2222-3333-444455556666",
                name="part",
                index=index,
                parent=whole.uuid,
                instance=(a, b),
            )
            for a, b in places
        ),
    ]


FOUR = [gpu(index) for index in range(4)]
NEW, OLD = Driver(version="570.86.10"), Driver(version="535.129.03")


def order(value, gpus, **driver):
    """The places in `gpus` of what is shown, in the order in which it is."""
    shown = visible_order(value, gpus, **driver)
    assert list(shown.values()) == list(range(len(shown)))
    return [[g.uuid for g in gpus].index(uuid) for uuid in shown]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, [0, 1, 2, 3]),
        ("", []),
        ("-1", []),
        ("none", []),
        ("NoDevFiles", []),
        ("0", [0]),
        ("2,1", [2, 1]),
        (" 3 , 0", [3, 0]),
        ("0,2,-1,1", [0, 2]),  # the example of CUDA's programming guide
        ("0,7,1", [0]),
        ("0,,1", [0]),
        ("0,x,1", [0]),
        ("1,1", []),
        ("0,1,2,1", []),
        ("0,7,7", []),
        ("0,-1,0", [0]),
        ("1gpu2,2ampere", [1, 2]),  # an example of PyTorch's tests
        ("+1,-0,007", [1, 0]),
        ("99999999999999999999,0", []),
        ("1" * 5000, []),
        ("\u0661", []),
        ("0,GPU-00000001", [0]),
        ("GPU-00000002,GPU-00000000", [2, 0]),
        (FOUR[3].uuid, [3]),
        ("GPU-", []),  # ambiguous
        ("GPU-00000001,GPU-,GPU-00000002", [1]),
        ("GPU-00000001,GPU-ffff,GPU-00000002", [1]),
        ("GPU-00000001,2", [1]),
        ("GPU-00000001,GPU-00000001", []),
        ("GPU-00000001,GPU-00000001-", []),  # twice, by two names
        ("GPU-00000001, GPU-00000002", [1]),
        ("gpu-00000001", []),
        ("MIG-00000001", []),
    ],
)
def test_the_variable_is_read_as_cuda_reads_it(value, expected):
    assert order(value, FOUR) == expected


def test_one_gpu_may_be_named_by_less_than_its_uuid():
    assert order("GPU-", [gpu(0)]) == [0]


@given(st.permutations(range(4)).flatmap(lambda p: st.integers(0, 4).map(lambda n: p[:n])))
def test_numbers_and_uuids_mean_the_same(numbers):
    by_number = ",".join(map(str, numbers))
    by_uuid = ",".join(FOUR[number].uuid for number in numbers)
    assert order(by_number, FOUR) == order(by_uuid, FOUR) == numbers


@given(
    valid=st.permutations(range(4)).flatmap(lambda p: st.integers(0, 4).map(lambda n: p[:n])),
    invalid=st.sampled_from(["-1", "4", "", "x", "GPU-ffff"]),
    rest=st.lists(st.integers(0, 3), unique=True),
)
def test_what_names_nothing_ends_the_list(valid, invalid, rest):
    rest = [number for number in rest if number not in valid]
    value = ",".join([*map(str, valid), invalid, *map(str, rest)])
    assert order(value, FOUR) == valid


@given(st.lists(st.integers(0, 3), min_size=2).filter(lambda ns: len(set(ns)) < len(ns)))
def test_what_is_there_twice_empties_the_list(numbers):
    assert order(",".join(map(str, numbers)), FOUR) == []
    assert order(",".join(FOUR[number].uuid for number in numbers), FOUR) == []


@st.composite
def machines(draw):
    gpus = []
    for index in range(draw(st.integers(0, 4))):
        kind = draw(st.sampled_from(["whole", "lost", "gone", "divided"]))
        if kind == "divided":
            places = st.tuples(st.integers(1, 3), st.integers(0, 2))
            gpus += divided(index, *draw(st.lists(places, unique=True, max_size=4)))
        else:
            gpus.append(
                gpu(
                    index,
                    lost=None if kind == "whole" else "GPU is lost",
                    uuid=UNKNOWN_UUID if kind == "gone" else None,
                )
            )
    return gpus


@st.composite
def values(draw, gpus):
    """Of anything, and of what comes close to being right."""
    uuids = [g.uuid for g in gpus] or ["GPU-x"]
    piece = st.one_of(
        st.integers(-1, 5).map(str),
        st.sampled_from(uuids),
        st.sampled_from(uuids).flatmap(lambda uuid: st.integers(0, 12).map(lambda n: uuid[:n])),
        st.text(max_size=3),
    )
    listed = st.lists(piece, max_size=4).map(",".join)
    return draw(st.one_of(st.none(), st.text(), listed))


@given(st.data())
def test_whatever_the_machine_and_the_variable_only_usable_devices_are_shown(data):
    gpus = data.draw(machines())
    value = data.draw(values(gpus))
    driver = data.draw(st.sampled_from([None, NEW, OLD, Driver(), Driver(version="R570")]))
    shown = [gpus[place] for place in order(value, gpus, driver=driver)]
    assert not any(g.has_mig or g.lost for g in shown)
    parts = [g for g in shown if g.parent]
    assert len({(g.parent, g.instance[0]) for g in parts}) == len(parts)
    if driver is OLD and parts:
        assert len(shown) == 1
    if value is None and driver is not OLD:
        assert {g.uuid for g in gpus if not (g.has_mig or g.lost or g.parent)} <= {
            g.uuid for g in shown
        }


def test_a_gpu_that_is_lost_is_not_counted():
    gpus = [gpu(0, lost="GPU is lost"), gpu(1), gpu(2)]
    assert order(None, gpus) == [1, 2]
    assert order("1", gpus) == [2]
    assert order(f"{gpus[0].uuid},{gpus[1].uuid}", gpus) == []


# 0: a whole GPU; 1: one with three GPU instances (2, 3 and 4), the last of them shared with 5.
MIXED = [gpu(0), *divided(1, (1, 0), (2, 0), (3, 0), (3, 1))]


@pytest.mark.parametrize(
    ("value", "new", "old"),
    [
        (None, [0, 2, 3, 4], [2]),
        ("0", [0], [0]),
        ("1", [2, 3, 4], [2]),
        ("1,0", [2, 3, 4, 0], [2]),
        ("2", [], []),
        (MIXED[1].uuid, [2, 3, 4], [2]),
        (MIXED[3].uuid, [3], [3]),
        (f"{MIXED[4].uuid},{MIXED[2].uuid}", [4, 2], [4]),
        (f"{MIXED[5].uuid},{MIXED[4].uuid},{MIXED[3].uuid}", [5, 3], [5]),
        (f"MIG-{MIXED[1].uuid}/3/1", [5], [5]),
        (f"MIG-{MIXED[1].uuid}/3/1,{MIXED[5].uuid}", [], []),
        ("MIG-000101", [2], [2]),
        ("MIG-0001", [], []),
        (f"{MIXED[0].uuid},{MIXED[3].uuid}", [0], [0]),
    ],
)
def test_of_a_divided_gpu_its_instances_are_shown(value, new, old):
    assert order(value, MIXED, driver=NEW) == order(value, MIXED) == new
    assert order(value, MIXED, driver=OLD) == old


def test_a_divided_gpu_without_instances_shows_nothing():
    assert order(None, divided(0)) == []
    assert order(None, [*divided(0), gpu(1)], driver=OLD) == [1]


# --- the inventory


PROGRAM = """
import ctypes, json, os
from attrs import asdict
from evakit.devices.reading import pin_device_order, take_inventory

def indices():
    return [gpu.cuda_index for gpu in take_inventory().gpus]
"""
PINNED = {"CUDA_DEVICE_ORDER": "PCI_BUS_ID"}


def test_the_machine_of_the_issue_is_one_visible_gpu(fake_nvml):
    code = f"""{PROGRAM}
inventory = take_inventory()
print(json.dumps([
    asdict(inventory.driver), inventory.nvml, inventory.find("cuda:0") == inventory.gpus[0],
    [(gpu.name, gpu.memory_used >> 20, gpu.memory_total >> 20) for gpu in inventory.visible],
]))
"""
    driver = {"version": "580.95.05", "cuda": [13, 0]}
    cards = [["NVIDIA GeForce RTX 4090", 1, 49140]]
    assert run(code, fake_nvml("4090")) == [driver, None, True, cards]


@pytest.mark.parametrize(
    ("scenario", "variables", "expected"),
    [
        ("4090", {}, [0]),
        ("4090", {"CUDA_VISIBLE_DEVICES": ""}, [None]),
        ("4090", {"CUDA_VISIBLE_DEVICES": "1"}, [None]),
        ("two", PINNED, [0, 1]),
        ("two", {**PINNED, "CUDA_VISIBLE_DEVICES": "1,0"}, [1, 0]),
        ("two", {**PINNED, "CUDA_VISIBLE_DEVICES": "-1"}, [None, None]),
        ("two", {}, [None, None]),
        ("two", {"CUDA_DEVICE_ORDER": "FASTEST_FIRST"}, [None, None]),
        ("two", {"CUDA_VISIBLE_DEVICES": "1"}, [None, None]),
        ("two", {"CUDA_VISIBLE_DEVICES": f"{RTX_3060},{RTX_4090}"}, [1, 0]),
        ("lost", {}, [None, 0]),
        ("gone", {}, [None, 0]),
        ("forbidden", {}, [0]),
        ("mig", {}, [None, 0, 1, None]),
        ("mig", {"CUDA_VISIBLE_DEVICES": SLICES[2]}, [None, None, None, 0]),
        ("no_driver", {}, []),
    ],
)
def test_a_gpu_has_the_number_that_cuda_will_give_it(fake_nvml, scenario, variables, expected):
    code = f"{PROGRAM}print(json.dumps(indices()))"
    assert run(code, fake_nvml(scenario), **variables) == expected


def test_with_the_order_pinned_all_gpus_have_numbers(fake_nvml):
    code = f"""{PROGRAM}
pin_device_order()
print(json.dumps([os.environ["CUDA_DEVICE_ORDER"], indices()]))
"""
    assert run(code, fake_nvml("two")) == ["PCI_BUS_ID", [0, 1]]
    unpinned = run(code, fake_nvml("two"), CUDA_DEVICE_ORDER="FASTEST_FIRST")
    assert unpinned == ["FASTEST_FIRST", [None, None]]


def test_from_when_cuda_is_initialised_it_says_the_numbers_itself(fake_nvml, fake_cuda):
    code = f"""{PROGRAM}
engine = ctypes.CDLL("libcuda.so.1")
answer = [indices()]
engine.cuInit(0)
os.environ.update(CUDA_VISIBLE_DEVICES="", CUDA_DEVICE_ORDER="PCI_BUS_ID")  # too late
answer.append(indices())
os.environ["FAKE_CUDA_BROKEN"] = "999"
answer.append(indices())
os.environ["FAKE_CUDA_BROKEN"] = "100"
answer.append(indices())
print(json.dumps(answer))
"""
    folders = fake_nvml("two"), fake_cuda()
    answer = run(code, *folders, FAKE_CUDA_DEVICES=f"{RTX_3060},{RTX_4090}")
    assert answer == [[None, None], [1, 0], [None, None], [None, None]]


def test_a_mig_instance_is_found_among_the_devices_of_cuda(fake_nvml, fake_cuda):
    code = f"""{PROGRAM}
ctypes.CDLL("libcuda.so.1").cuInit(0)
print(json.dumps(indices()))
"""
    a100 = "GPU-a100eeee-1111-2222-3333-444455556666"
    folders = fake_nvml("mig"), fake_cuda()
    answer = run(code, *folders, FAKE_CUDA_DEVICES=f"{a100}/{SLICES[1]},{a100}/{SLICES[0]}")
    assert answer == [None, 1, 0, None]


@pytest.mark.parametrize(
    ("is_initialised", "environ", "expected"),
    [
        (False, {}, {"CUDA_DEVICE_ORDER": "PCI_BUS_ID"}),
        (False, {"CUDA_DEVICE_ORDER": "FASTEST_FIRST"}, {"CUDA_DEVICE_ORDER": "FASTEST_FIRST"}),
        (False, {"CUDA_DEVICE_ORDER": ""}, {"CUDA_DEVICE_ORDER": ""}),
        (True, {}, {}),
        (None, {}, {}),
    ],
)
def test_the_order_is_pinned_unless_it_is_set_or_too_late(
    monkeypatch, is_initialised, environ, expected
):
    monkeypatch.setattr(cuda, "is_initialised", lambda: is_initialised)
    pin_device_order(environ)
    assert environ == expected


@pytest.fixture
def take(monkeypatch, machine):
    """Take the inventory of a machine of files with one GPU, which two processes use."""
    processes = (GpuProcess(pid=26, memory=None), GpuProcess(pid=4242, memory=1))
    card = Gpu(uuid=RTX_4090, name="card", index=0, processes=processes)
    monkeypatch.setattr(reading, "read_nvml", lambda: NvmlReading(driver=NEW, gpus=(card,)))

    def take(files):
        return take_inventory(machine({"proc/4242/comm": "python3\n", **files}), {})

    return take


def test_processes_are_named_where_their_numbers_are_those_of_proc(take):
    (card,) = take({}).gpus
    assert card.cuda_index == 0
    assert [process.name for process in card.processes] == [None, "python3"]


@pytest.mark.parametrize(("comm", "name"), [("", None), (b"caf\xe9\n", "caf\ufffd")])
def test_odd_names_of_processes_are_taken_as_they_are(take, comm, name):
    (card,) = take({"proc/4242/comm": comm}).gpus
    assert card.processes[1].name == name


def test_instances_that_are_named_have_numbers_whatever_the_order(monkeypatch, tmp_path):
    monkeypatch.setattr(reading, "read_nvml", lambda: NvmlReading(driver=NEW, gpus=tuple(MIXED)))
    chosen = {"CUDA_VISIBLE_DEVICES": f"{MIXED[4].uuid},{MIXED[2].uuid}"}
    inventory = take_inventory(tmp_path, chosen)
    assert [gpu.uuid for gpu in inventory.visible] == [MIXED[4].uuid, MIXED[2].uuid]
    assert take_inventory(tmp_path, {}).visible == ()


@pytest.mark.parametrize(
    "files", [{".dockerenv": ""}, {"dev/dxg": ""}], ids=["a container", "Windows"]
)
def test_a_process_of_another_system_is_not_named(take, files):
    (card,) = take(files).gpus
    assert [process.name for process in card.processes] == [None, None]


def test_why_nvml_was_not_asked_is_in_the_inventory(monkeypatch, machine):
    failure = NvmlFailure(code=9, text="Driver Not Loaded")
    monkeypatch.setattr(reading, "read_nvml", lambda: NvmlReading(failure=failure))
    inventory = take_inventory(machine({"proc/version": "microsoft"}), {})
    assert (inventory.driver, inventory.nvml, inventory.gpus) == (None, failure, ())
    assert inventory.host.is_wsl
