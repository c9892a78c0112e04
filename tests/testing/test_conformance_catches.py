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
    spec.loader.exec_module(module)
    return {n: c for n, c in vars(module).items() if n.startswith("Test")}


_SUITES = _load()


def promises_of(suite):
    return {name for name in dir(suite) if name.startswith("test_")}


@pytest.fixture(scope="module")
def failures(tmp_path_factory):
    """For each broken backend: the tests that failed, and what each of them said."""
    report = tmp_path_factory.mktemp("broken") / "report.xml"
    root = Path(__file__).parents[2]
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "--tb=no",
        f"--junitxml={report}",
        str(_BROKEN),
    ]
    done = subprocess.run(
        command, cwd=root, env=os.environ, capture_output=True, text=True, check=False, timeout=110
    )
    assert done.returncode == pytest.ExitCode.TESTS_FAILED, done.stdout + done.stderr
    found = {name: {} for name in _SUITES}
    ran = {name: set() for name in _SUITES}
    for case in ET.parse(report).iter("testcase"):  # noqa: S314 (pytest's own report)
        suite = case.get("classname").rpartition(".")[2]
        test = case.get("name").partition("[")[0]
        ran[suite].add(test)
        if case.find("error") is not None:  # as a fixture was taken down
            found[suite].setdefault(test, None)
        if (failure := case.find("failure")) is not None:
            found[suite][test] = failure.get("message")
    assert ran == {name: promises_of(suite) for name, suite in _SUITES.items()}
    return found


@pytest.mark.timeout(120)
@pytest.mark.parametrize("name", _SUITES)
def test_a_broken_backend_is_caught_by_its_test_and_by_no_other(failures, name):
    caught = set() if name == "TestAFlawThatIsKnown" else {_SUITES[name].caught_by}
    assert set(failures[name]) == caught | getattr(_SUITES[name], "also", set()), failures[name]


@pytest.mark.timeout(120)
@pytest.mark.parametrize("name", _SUITES)
def test_a_failure_says_the_promise(failures, name):
    for test, message in failures[name].items():
        if message is not None and name != "TestAFlawThatIsGone":  # that one speaks of the mark
            assert inspect.getdoc(getattr(_SUITES[name], test)) in " ".join(message.split())


def conformance_suites():
    return [getattr(conformance, name) for name in conformance.__all__]


def test_every_conformance_test_has_a_backend_that_it_catches():
    tests = set().union(*map(promises_of, conformance_suites()))
    caught = {
        (kind.__name__, suite.caught_by)
        for suite in _SUITES.values()
        for kind in suite.__mro__
        if suite.caught_by in vars(kind)
    }
    wanted = {
        (kind.__name__, test)
        for suite in conformance_suites()
        for test in promises_of(suite)
        for kind in suite.__mro__
        if test in vars(kind)
    }
    assert len(tests) > 50
    assert caught == wanted


@pytest.mark.parametrize("suite", conformance_suites())
def test_a_promise_is_one_sentence(suite):
    for name in promises_of(suite):
        promise = inspect.getdoc(getattr(suite, name))
        assert promise.endswith(".")
        assert "\n" not in promise
