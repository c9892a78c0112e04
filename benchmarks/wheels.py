"""Where evakit installs from wheels alone: `python benchmarks/wheels.py [--json]`.

Asks the configured package index, by pip and without installing anything, for wheels of all that
evakit and its usual plugins require, once for each platform and version of Python. With
`--constraint constraints.txt` for the versions that the tests run with. The README's table is made
by it. What may not live here: building our own wheels, which are the same everywhere, and what a
GPU needs, which is not for every platform (`gpu_sets.py`).
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import re
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from attrs import frozen

ROOT: Final = Path(__file__).resolve().parents[1]
PYTHONS: Final = ("3.11", "3.12", "3.13", "3.14")
# PyTorch is several GB on some platforms, and is asked for by name.
LEFT_OUT: Final = frozenset({"evakit-transformers"})

# pip takes platform and version for the names of wheels, and the running machine for markers such
# as `sys_platform == "win32"`; this makes it take the same for both.
_PIP: Final = """
import json, sys
from pip._vendor.packaging import markers
environment = json.loads(sys.argv.pop(1))
markers.default_environment = lambda: dict(environment)
from pip._internal.cli.main import main
sys.exit(main(sys.argv[1:]))
"""


@frozen
class Platform:
    """A platform, as wheels name it and as markers do."""

    name: str
    tags: tuple[str, ...]
    os_name: str
    sys_platform: str
    system: str
    machine: str

    def environment(self, python: str) -> dict[str, str]:
        """Return what markers are compared with."""
        return {
            "implementation_name": "cpython",
            "implementation_version": f"{python}.0",
            "os_name": self.os_name,
            "platform_machine": self.machine,
            "platform_python_implementation": "CPython",
            "platform_release": "",
            "platform_system": self.system,
            "platform_version": "",
            "python_full_version": f"{python}.0",
            "python_version": python,
            "sys_platform": self.sys_platform,
        }


def _linux(name: str, machine: str) -> Platform:
    # glibc 2.28, of 2018, and older: a wheel for it runs on any distribution still maintained.
    tags = [f"manylinux_2_{minor}_{machine}" for minor in range(28, 4, -1)]
    older = [f"{alias}_{machine}" for alias in ("manylinux2014", "manylinux2010", "manylinux1")]
    tags += [*older, f"linux_{machine}"]
    name = f"{name}, glibc 2.28 or newer"
    return Platform(name, tuple(tags), "posix", "linux", "Linux", machine)


PLATFORMS: Final = (
    _linux("Linux x86-64", "x86_64"),
    _linux("Linux aarch64", "aarch64"),
    Platform(
        "macOS arm64, 14 or newer", ("macosx_14_0_arm64",), "posix", "darwin", "Darwin", "arm64"
    ),
    Platform("Windows x86-64", ("win_amd64",), "nt", "win32", "Windows", "AMD64"),
)


@frozen
class Answer:
    """What the index has for some requirements, one platform and one Python."""

    platform: Platform
    python: str
    wheels: dict[str, str]
    """The wheel of each distribution; empty where they do not resolve."""
    reason: str = ""
    """Why they do not."""


def distributions() -> dict[str, tuple[str, ...]]:
    """Return what each usual distribution of ours requires of others; all extras but CUDA's."""
    found = {}
    for file in (ROOT / "pyproject.toml", *sorted(ROOT.glob("plugins/*/pyproject.toml"))):
        project = tomllib.loads(file.read_text("utf-8"))["project"]
        if project["name"] in LEFT_OUT:
            continue
        lines = [*project.get("dependencies", ())]
        for name, extra in project.get("optional-dependencies", {}).items():
            lines += extra if name != "cuda" else []
        found[project["name"]] = tuple(
            line for line in lines if not re.match(r"evakit\b", line.strip(), re.IGNORECASE)
        )
    return found


def ask(
    requirements: tuple[str, ...], platform: Platform, python: str, constraint: str | None
) -> Answer:
    """Resolve `requirements` with wheels only."""
    with tempfile.TemporaryDirectory(prefix="evakit-") as folder:
        report = Path(folder) / "report.json"
        command = [sys.executable, "-c", _PIP, json.dumps(platform.environment(python)), "install"]
        command += ["--dry-run", "--ignore-installed", "--quiet", "--quiet", "--only-binary=:all:"]
        command += ["--target", folder, "--report", str(report), "--implementation", "cp"]
        command += ["--python-version", python]
        command += [f"--platform={tag}" for tag in platform.tags]
        command += ["--constraint", constraint] if constraint else []
        done = subprocess.run(  # noqa: S603 (pip, by this Python)
            [*command, *requirements], capture_output=True, text=True, check=False
        )
        if done.returncode:
            return Answer(platform, python, {}, _reason(done.stderr))
        installs = json.loads(report.read_text("utf-8"))["install"]
    return Answer(platform, python, dict(sorted(map(_wheel, installs))))


def _reason(stderr: str) -> str:
    """Return what pip says, and whether a missing wheel may be for want of a complete index."""
    said = [line for line in stderr.splitlines() if line.startswith("ERROR: ")]
    reason = said[-1].removeprefix("ERROR: ") if said else stderr.strip() or "pip failed silently"
    missing = re.search(r"No matching distribution found for ([\w.-]+)", reason)
    if missing is None:
        return reason
    listed = subprocess.run(  # noqa: S603 (pip, by this Python)
        [sys.executable, "-m", "pip", "index", "versions", "--quiet", missing[1]],
        capture_output=True,
        check=False,
    )
    where = "lists it for others" if listed.returncode == 0 else "does not list it here at all"
    return f"{reason} (the index at hand {where})"


def _wheel(entry: dict[str, Any]) -> tuple[str, str]:
    return entry["metadata"]["name"], entry["download_info"]["url"].rpartition("/")[2]


def survey(constraint: str | None) -> Iterator[tuple[Answer, dict[str, str]]]:
    """Ask for every platform and Python; beside each answer, who is not served, and why."""
    needs = distributions()
    everything = tuple(sorted({line for lines in needs.values() for line in lines}))
    for platform in PLATFORMS:
        for python in PYTHONS:
            answer = ask(everything, platform, python, constraint)
            gaps: dict[str, str] = {}
            if answer.reason:  # whose fault it is
                for name, lines in needs.items():
                    reason = ask(lines, platform, python, constraint).reason
                    gaps |= {name: reason} if reason else {}
                gaps = gaps or {"all together": answer.reason}
            yield answer, gaps


def main() -> int:
    """Print the table, or with --json everything; the exit status is 1 where there is a gap."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument("--constraint", metavar="FILE", help="the versions to ask for")
    arguments = parser.parse_args()
    rows: dict[str, list[str]] = {}
    found, notes = [], []
    for answer, gaps in survey(arguments.constraint):
        cell = f"no: {', '.join(gaps)}" if gaps else "yes"
        rows.setdefault(answer.platform.name, []).append(cell)
        place = f"{answer.platform.name}, Python {answer.python}"
        notes += [f"{place}: {name}: {reason}" for name, reason in gaps.items()]
        found.append(
            {
                "platform": answer.platform.name,
                "python": answer.python,
                "wheels": answer.wheels,
                "gaps": gaps,
            }
        )
    if arguments.json:
        print(json.dumps({"date": dt.datetime.now(dt.UTC).date().isoformat(), "found": found}))
    else:
        print("| | " + " | ".join(f"Python {python}" for python in PYTHONS) + " |")
        print("|---" * (len(PYTHONS) + 1) + "|")
        for name, cells in rows.items():
            print(f"| {name} | " + " | ".join(cells) + " |")
        print("\n".join(["", *notes]) if notes else "")
    return 1 if notes else 0


if __name__ == "__main__":
    sys.exit(main())
