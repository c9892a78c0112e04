"""`evakit doctor`: what keeps models from the GPU on this machine, and the command that cures it.

What may not live here: looking at the machine, and deciding what is wrong (`evakit.devices`).
"""

from __future__ import annotations

import sys
from typing import Final

import anyio
import click
from attrs import evolve
from rich.text import Text

from ..devices import Finding, Remedy, Severity, is_device
from ..devices.checks import NAMES
from ..devices.doctor import Diagnosis, Trial, examine
from ..devices.instruments import Instruments
from ..devices.inventory import Gpu
from ..devices.site_packages import find_package, look_at_sites
from ..errors import EvakitError
from ..plugins import discover
from ..registry import Registry
from ..settings import resolve
from .console import fetch_bars, json_option, out, print_json, print_table
from .deep import try_backends

__all__ = ["doctor"]

_STYLES: Final = {
    Severity.BLOCKER: "bold red",
    Severity.WARNING: "yellow",
    Severity.UNKNOWN: "magenta",
}
_OURS: Final = "evakit-voice"


def _a_gpu(_context: click.Context, _parameter: click.Parameter, value: str | None) -> str | None:
    if value is not None and (not is_device(value) or value in {"auto", "cpu"}):
        raise click.BadParameter(f"{value!r} is no GPU; write 'cuda', 'cuda:0' or a GPU's UUID.")
    return value


@click.command()
@click.option(
    "--require",
    metavar="GPU",
    callback=_a_gpu,
    help="The GPU that must be usable: cuda, cuda:1 or a UUID; without it, as the settings say.",
)
@click.option(
    "--deep",
    is_flag=True,
    help="Load each backend with its smallest model too, and prove where it runs.",
)
@json_option
def doctor(require: str | None, deep: bool, as_json: bool) -> None:
    """Say what keeps models from the GPU, and the commands that cure it.

    Nothing is loaded without --deep. The exit status is 0 when all is well, 1 when something was
    found, and 2 when something could not be told.
    """
    extra = _names()
    try:
        device = resolve().device
    except EvakitError as error:
        device = None
        extra.append(_bad_settings(error))
    registry = discover()
    diagnosis = examine(
        Instruments().machine(),
        require=require,
        device=device,
        engines=_engines(registry),
        extra=extra,
    )
    if deep:
        with fetch_bars() as progress:
            trials, findings = anyio.run(try_backends, registry, require or device, progress)
        diagnosis = evolve(diagnosis, trials=trials, findings=[*diagnosis.findings, *findings])
    if as_json:
        print_json(diagnosis.to_json())
    else:
        _show(diagnosis)
    click.get_current_context().exit(diagnosis.exit_code)


def _engines(registry: Registry) -> set[str]:
    """Return the engines whose builds matter: those that a backend would run on a GPU. PyTorch
    always does: it comes with nothing else, so whoever has it wants it.
    """
    wanted = [spec.capabilities.engines for spec in registry if "cuda" in spec.capabilities.devices]
    return {"torch"}.union(*wanted)


def _bad_settings(error: EvakitError) -> Finding:
    return Finding(
        code="settings",
        severity=Severity.BLOCKER,
        what="the settings make no sense, and count as not given here",
        evidence=str(error).rstrip("."),
        fix=[Remedy(what="correct them; 'evakit config' shows where each of them stands")],
    )


def _names() -> list[Finding]:
    """Look who owns the import package `evakit`: on the package index the name is another's."""
    package = find_package(look_at_sites(sys.path), "evakit")
    owners = {} if package is None else {one.name: one for one in package.owners}
    strangers = [owners[name] for name in sorted(owners.keys() - {_OURS})]
    if not strangers:
        return []
    removed = " ".join(one.name for one in strangers)
    pip, uv = f"pip uninstall -y {removed}", f"uv pip uninstall {removed}"
    if _OURS in owners:  # to remove the one takes files of the other with it
        again = f"--no-deps {_OURS}=={owners[_OURS].version}"
        pip += f" && pip install --force-reinstall {again}"
        uv += f" && uv pip install --reinstall {again}"
    folders = ", ".join(str(one.folder) for one in strangers)
    return [
        Finding(
            code="evakit-name",
            severity=Severity.WARNING,
            what=f"another project has files in the import package evakit: {removed}",
            evidence=f"they are listed in {folders}",
            fix=[Remedy(what="remove it", pip=pip, uv=uv)],
        )
    ]


def _show(diagnosis: Diagnosis) -> None:
    """Print what is to be done first, then all findings, their cures, and the machine."""
    if not diagnosis.findings:
        out.print(Text(diagnosis.summary, "green"), soft_wrap=True)
    else:
        first = diagnosis.findings[0]
        title = f"{first.severity.capitalize()}: {first.what}"
        out.print(Text(title, _STYLES[first.severity]), soft_wrap=True)
        for line in _commands(first.fix[0]) if first.fix else ():
            out.print(Text(line, "bold"), soft_wrap=True)
        out.print()
        _show_findings(diagnosis.findings)
    if diagnosis.trials:
        out.print()
        columns = ("loaded", "runs on", "proof", "warm-up", "on the CPU")
        print_table(columns, [_trial(trial) for trial in diagnosis.trials])
        for trial in diagnosis.trials:
            for piece in trial.proof.evidence if trial.proof else ():
                out.print(f"{trial.component}, {piece.strength}: {piece.says}", soft_wrap=True)
    out.print()
    print_table(("machine", ""), _machine(diagnosis))


def _commands(remedy: Remedy) -> list[str]:
    """Return what cures it: the commands, each on a line of its own, else the sentence."""
    lines = [command for command in (remedy.shell, remedy.pip) if command]
    if remedy.uv:
        lines.append(f"with uv: {remedy.uv}" if lines else remedy.uv)
    return lines or [remedy.what]


def _show_findings(findings: tuple[Finding, ...]) -> None:
    print_table(
        ("severity", "code", "what", "evidence"),
        [(f.severity.value, f.code, f.what, f.evidence) for f in findings],
    )
    out.print("\nWhat to do:")
    for finding in findings:
        for remedy in finding.fix:
            out.print(f"{finding.code}: {remedy.what}", soft_wrap=True)
            for line in _commands(remedy) if remedy.command else ():
                out.print(f"    {line}", soft_wrap=True)


def _trial(trial: Trial) -> tuple[str, ...]:
    verdict = "-" if trial.proof is None else trial.proof.verdict.value
    work = ("-" if done is None else str(done) for done in (trial.warm_up, trial.on_cpu))
    return (trial.component, trial.label, verdict, *work)


def _machine(diagnosis: Diagnosis) -> list[tuple[str, str]]:
    """Return what was looked at, a line each."""
    inventory, installed = diagnosis.machine.inventory, diagnosis.machine.installed
    host, driver = inventory.host, inventory.driver
    kinds = [host.container, "WSL" if host.is_wsl else None, "Jetson" if host.is_tegra else None]
    kind = "".join(f", {kind}" for kind in kinds if kind)
    rows = [
        ("asked for", diagnosis.device),
        ("system", f"{host.system} {host.machine}{kind}"),
    ]
    if driver is not None:
        newest = "?" if driver.cuda is None else f"{driver.cuda[0]}.{driver.cuda[1]}"
        rows.append(("driver", f"{driver.version or '?'}, for CUDA up to {newest}"))
    rows += [_gpu(gpu) for gpu in inventory.gpus] or [("GPU", "none that is seen")]
    for wheel in installed.wheels:
        built = {True: "without CUDA", False: "for CUDA", None: "for what cannot be told"}
        cuda = "" if wheel.cuda is None else f" {wheel.cuda[0]}.{wheel.cuda[1]}"
        name = f"{NAMES.get(wheel.engine, wheel.engine)} {wheel.version or '?'}"
        rows.append((wheel.engine, f"{name}, built {built[wheel.is_cpu_only]}{cuda}"))
    return rows


def _gpu(gpu: Gpu) -> tuple[str, str]:
    name = "hidden" if gpu.cuda_index is None else f"cuda:{gpu.cuda_index}"
    used, total = (
        "?" if size is None else f"{size / 2**20:.0f}"
        for size in (gpu.memory_used, gpu.memory_total)
    )
    load = "?" if gpu.utilization is None else str(gpu.utilization)
    state = f"{used} of {total} MiB used, {load} % busy" if gpu.lost is None else gpu.lost
    return name, f"{gpu.name}, {state}, {gpu.uuid}"
