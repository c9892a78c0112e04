"""Each folder of tests belongs to one of the commands that run tests."""

from __future__ import annotations

import re
import tomllib


def test_each_plugin_is_tested_by_make_test_or_by_make_test_torch(root):
    project = tomllib.loads((root / "pyproject.toml").read_text("utf-8"))
    usual = set(project["tool"]["pytest"]["ini_options"]["testpaths"])
    makefile = (root / "Makefile").read_text("utf-8")
    apart = set(re.findall(r"^TORCH := (\S+)$", makefile, re.MULTILINE))
    plugins = {path.relative_to(root).as_posix() for path in root.glob("plugins/evakit-*")}
    assert usual - {"tests"} == plugins - apart
    assert apart < plugins


def test_what_make_tests_is_what_continuous_integration_runs(root):
    script = (root / ".ci/run").read_text("utf-8").splitlines()
    targets = re.findall(r"^(test[a-z-]*):", (root / "Makefile").read_text("utf-8"), re.MULTILINE)
    assert len(targets) >= 4
    assert {f"make {target}" for target in targets} - set(script) == {"make test-gpu"}
