"""What a forked child knows: whether CUDA was there before it, and that its books are its own."""

from __future__ import annotations

import os

import pytest

from .native import run

FORK = """
import ctypes, json, os
from evakit.devices import default_manager
from evakit.devices.instruments import Instruments

{before}
parent = default_manager()
reads, writes = os.pipe()
if os.fork() == 0:
    told = [Instruments().is_forked_after_cuda(), default_manager() is parent]
    os.write(writes, json.dumps(told).encode())
    os._exit(0)
os.wait()
child = json.loads(os.read(reads, 1000))
print(json.dumps([Instruments().is_forked_after_cuda(), *child]))
"""

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")


LOADED = 'library = ctypes.CDLL("libcuda.so.1")'


@pytest.mark.parametrize(
    ("before", "is_after_cuda"),
    [(f"{LOADED}; library.cuInit(0)", True), (LOADED, False), ("", False)],
    ids=["initialised", "only loaded, as NVML does", "not there"],
)
def test_a_child_knows_whether_cuda_was_initialised_before_it(fake_cuda, before, is_after_cuda):
    in_parent, in_child, is_same_manager = run(FORK.format(before=before), fake_cuda())
    assert (in_parent, in_child) == (False, is_after_cuda)
    assert not is_same_manager
