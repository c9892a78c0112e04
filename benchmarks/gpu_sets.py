"""Which versions go together on a GPU: `python benchmarks/gpu_sets.py [--json] [--tool pip|uv]`.

Has pip, and uv where it is installed, resolve the commands of docs/how-to/use-the-gpu.md against
the configured package index, and downloads no wheel for it: both read what a wheel requires from
the wheel's own end, if the index serves parts of a file. The exit status is 1 where a set does not
resolve, or resolves to what does not work together. What may not live here: installing anything,
and xllamacpp's own index, which holds one package.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from attrs import frozen

ROOT: Final = Path(__file__).resolve().parents[1]
_OURS: Final = tuple(
    f"./plugins/evakit-{name}[cuda]" for name in ("whisper", "piper", "llamacpp", "transformers")
)
# What follows `pip install` and `uv pip install` for a set, as the how-to page has it. pip can
# leave no requirement out, so a folder meets it; nor can it replace the version that an extra asks
# for, so on CUDA 12 the extras that ask for CUDA 13 are not taken.
SETS: Final = {
    "cu13": {
        "pip": ("./gpu/cuda13", ".[cli]", *_OURS),
        "uv": ("--override", "gpu/cuda13/overrides.txt", ".[cli]", *_OURS),
    },
    "cu12": {
        "pip": (
            "./gpu/cuda12[torch]",
            ".[cli]",
            "./plugins/evakit-whisper[cuda]",
            "./plugins/evakit-piper",
            "./plugins/evakit-llamacpp[cuda]",
            "./plugins/evakit-transformers",
        ),
        "uv": ("--override", "gpu/cuda12/overrides.txt", ".[cli]", *_OURS),
    },
}
# What the table shows; --json has everything.
_SHOWN: Final = re.compile(
    r"(onnxruntime|torch|ctranslate2|xllamacpp|transformers|nvidia-(cublas|cudnn|ml-py)).*"
)
_CUDNN: Final = {"cu13": "nvidia-cudnn-cu13", "cu12": "nvidia-cudnn-cu12"}
# PyTorch of the index is built for CUDA 12 up to 2.10, and for CUDA 13 from 2.11 on.
_FIRST_TORCH_OF_13: Final = (2, 11)
_FIRST_ONNXRUNTIME_OF_13: Final = (1, 28)


@frozen
class Answer:
    """What a tool makes of a set."""

    name: str
    """`cu13` or `cu12`."""
    tool: str
    packages: Mapping[str, str]
    """The version of each distribution; empty where they do not resolve."""
    ours: frozenset[str] = frozenset()
    """Those that come from folders of this repository."""
    reason: str = ""
    """Why they do not resolve."""

    @property
    def problems(self) -> tuple[str, ...]:
        """What is wrong with it, a sentence without full stop each."""
        if self.reason:
            return (self.reason,)
        found = self.packages
        problems = []
        if "onnxruntime" in found and "onnxruntime" not in self.ours:
            problems.append(
                f"onnxruntime {found['onnxruntime']}, the build for the CPU, would lie over "
                "onnxruntime-gpu"
            )
        problems += [
            f"{cudnn} is {'' if cudnn in found else 'not '}among them"
            for name, cudnn in _CUDNN.items()
            if (cudnn in found) != (name == self.name)
        ]
        for name, first in (
            ("onnxruntime-gpu", _FIRST_ONNXRUNTIME_OF_13),
            ("torch", _FIRST_TORCH_OF_13),
        ):
            version = found.get(name)
            if version is None:
                if name != "torch":
                    problems.append(f"{name} is not among them")
            elif version.endswith("+cpu"):
                problems.append(
                    f"{name} {version} is a build for the CPU, which the index settings prefer"
                )
            elif (_release(version) >= first) != (self.name == "cu13"):
                problems.append(f"{name} {version} is built for the other CUDA")
        return tuple(problems)


def _release(version: str) -> tuple[int, int]:
    major, minor = re.findall(r"\d+", version)[:2]
    return int(major), int(minor)


def _name(distribution: str) -> str:
    return re.sub(r"[-_.]+", "-", distribution).lower()


def ask_pip(name: str, arguments: tuple[str, ...]) -> Answer:
    """Have pip resolve what it would install into an empty environment."""
    with tempfile.TemporaryDirectory(prefix="evakit-") as folder:
        report = Path(folder) / "report.json"
        command = [sys.executable, "-m", "pip", "install", "--dry-run", "--ignore-installed"]
        command += ["--quiet", "--quiet", "--use-feature=fast-deps", "--report", str(report)]
        done = subprocess.run(  # noqa: S603 (pip, by this Python)
            [*command, *arguments], cwd=ROOT, capture_output=True, text=True, check=False
        )
        if done.returncode:
            return Answer(name, "pip", {}, reason=_reason(done.stderr))
        return read_report(name, json.loads(report.read_text("utf-8")))


def read_report(name: str, report: dict[str, Any]) -> Answer:
    """Read pip's installation report."""
    packages, ours = {}, set()
    for entry in report["install"]:
        distribution = _name(entry["metadata"]["name"])
        packages[distribution] = entry["metadata"]["version"]
        if "dir_info" in entry["download_info"]:
            ours.add(distribution)
    return Answer(name, "pip", dict(sorted(packages.items())), frozenset(ours))


def ask_uv(name: str, arguments: tuple[str, ...]) -> Answer:
    """Have uv do the same, for this Python."""
    uv = [sys.executable, "-m", "uv"] if find_spec("uv") else [shutil.which("uv") or ""]
    if uv == [""]:
        reason = "uv is not installed: pip install uv, or leave it out with --tool pip"
        return Answer(name, "uv", {}, reason=reason)
    options = arguments[: arguments.index(".[cli]")]
    command = [*uv, "pip", "compile", "--quiet", "--no-header", "--no-annotate"]
    done = subprocess.run(  # noqa: S603 (uv, as it is installed)
        [*command, "--python", sys.executable, *options, "-"],
        input="\n".join(arguments[len(options) :]),
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        return Answer(name, "uv", {}, reason=_reason(done.stderr))
    return read_pins(name, done.stdout)


def read_pins(name: str, lines: str) -> Answer:
    """Read what uv would install: `torch==2.15.0`, and folders, which are ours."""
    pins = re.findall(r"^([\w.-]+)==(\S+)", lines, re.MULTILINE)
    return Answer(name, "uv", {_name(distribution): version for distribution, version in pins})


def _reason(stderr: str) -> str:
    """Return what pip or uv says is wrong, in one line."""
    errors = [line.removeprefix("ERROR: ") for line in stderr.splitlines() if "ERROR: " in line]
    return errors[-1] if errors else " ".join(stderr.split()) or "it failed without a word"


def main() -> int:
    """Print the table, or with --json everything; the exit status is 1 where there is a problem."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument("--tool", choices=("pip", "uv"), help="ask only this one")
    chosen = parser.parse_args()
    ask = {"pip": ask_pip, "uv": ask_uv}
    answers = [
        ask[tool](name, arguments)
        for name, tools in SETS.items()
        for tool, arguments in tools.items()
        if chosen.tool in {None, tool}
    ]
    if chosen.json:
        found = [
            {"set": a.name, "tool": a.tool, "packages": a.packages, "problems": a.problems}
            for a in answers
        ]
        print(json.dumps({"date": dt.datetime.now(dt.UTC).date().isoformat(), "found": found}))
    else:
        print("| set | tool | package | version |\n|---|---|---|---|")
        for answer in answers:
            for package, version in answer.packages.items():
                if _SHOWN.fullmatch(package):
                    note = " (no files)" if package in answer.ours else ""
                    print(f"| {answer.name} | {answer.tool} | {package} | {version}{note} |")
        for answer in answers:
            for problem in answer.problems:
                print(f"\n{answer.name}, {answer.tool}: {problem}")
    return 1 if any(answer.problems for answer in answers) else 0


if __name__ == "__main__":
    sys.exit(main())
