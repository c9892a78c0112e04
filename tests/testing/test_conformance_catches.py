"""No conformance test is vacuous: each fails on a backend that is broken just there."""

from __future__ import annotations

import importlib.util
import inspect
import os
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from evakit.testing import conformance

_BROKEN = Path(__file__).with_name("broken_backends.py")


def _load():
    spec = importlib.util.spec_from_file_location("broken_backends", _BROKEN)
    module = importlib.util.module_from_spec(spec)
    before = conformance._PATIENCE
    spec.loader.exec_module(module)
    conformance._PATIENCE = before
    return {n: c for n, c in vars(module).items() if n.startswith("Test")}


_SUITES = _load()


@pytest.fixture(scope="module")
def failed(tmp_path_factory):
    """The classes whose test failed, of those run: the one that must catch each."""
    report = tmp_path_factory.mktemp("broken") / "report.xml"
    root = Path(__file__).parents[2]
    tests = [f"{_BROKEN}::{name}::{suite.caught_by}" for name, suite in _SUITES.items()]
    command = [sys.executable, "-m", "pytest", "-q", f"--junitxml={report}", *tests]
    done = subprocess.run(
        command, cwd=root, env=os.environ, capture_output=True, text=True, check=False, timeout=55
    )
    assert done.returncode == pytest.ExitCode.TESTS_FAILED, done.stdout + done.stderr
    cases = list(ET.parse(report).iter("testcase"))  # noqa: S314 (pytest's own report)
    names = {case.get("classname").rpartition(".")[2] for case in cases}
    assert names == set(_SUITES)
    return {
        case.get("classname").rpartition(".")[2]
        for case in cases
        if case.find("failure") is not None
    }


@pytest.mark.parametrize("name", _SUITES)
def test_a_broken_backend_is_caught(failed, name):
    assert (name in failed) != (name == "TestAFlawThatIsKnown")


def test_every_conformance_test_has_a_backend_that_it_catches():
    suites = [s for s in vars(conformance).values() if inspect.isclass(s)]
    tests = {
        name
        for suite in suites
        if issubclass(suite, conformance._Conformance)
        for name in vars(suite)
        if name.startswith("test_")
    }
    assert len(tests) > 20
    assert tests == {suite.caught_by for suite in _SUITES.values()}
