"""Where voices run, as ONNX Runtime shows it: which provider each operator was put on.

Pure, but for reading a session. What may not live here: making sessions, and what was asked for.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any, Final

from attrs import frozen

from evakit.devices import Device, Evidence, Strength
from evakit.devices.device import CPU, CUDA
from evakit.devices.evidence import MODEL

__all__ = ["Seen", "cuda_number", "evidence_of", "look", "where"]

# Where the time of a model goes. The rest is arithmetic on shapes, which the CUDA provider leaves
# on the CPU by design (GetCpuPreferredNodes), and what follows the operators beside it.
_HEAVY: Final = frozenset(
    {
        "Attention",
        "Conv",
        "ConvInteger",
        "ConvTranspose",
        "Einsum",
        "FusedConv",
        "FusedGemm",
        "FusedMatMul",
        "GRU",
        "Gemm",
        "GroupQueryAttention",
        "LSTM",
        "MatMul",
        "MatMulInteger",
        "MatMulNBits",
        "MultiHeadAttention",
        "QLinearConv",
        "QLinearMatMul",
        "RNN",
    }
)
_CUDA_PROVIDER: Final = "CUDAExecutionProvider"
_SHOWN: Final = 3  # sorts of operators that are named


@frozen(kw_only=True)
class Seen:
    """What the session of one voice shows."""

    voice: str
    providers: tuple[str, ...]
    """Those that it has, in the order of preference. They say nothing of where work is done."""
    nodes: tuple[tuple[str, str], ...] | None
    """Each operator: its provider and its sort; None before ONNX Runtime 1.24, which tells not."""
    cuda: int | None = None
    """The number of the GPU that its CUDA provider uses; None when it has none, or tells not."""


def look(voice: str, session: Any) -> Seen:
    """Read what a session shows; a few milliseconds for a voice of 2,700 operators."""
    nodes = None
    if hasattr(session, "get_provider_graph_assignment_info"):
        nodes = tuple(
            (subgraph.ep_name, node.op_type)
            for subgraph in session.get_provider_graph_assignment_info()
            for node in subgraph.get_nodes()
        )
    return Seen(
        voice=voice,
        providers=tuple(session.get_providers()),
        nodes=nodes,
        cuda=cuda_number(session),
    )


def cuda_number(session: Any) -> int | None:
    """Return the number of the GPU in whose memory a session's inputs or outputs are.

    Where these are all in the main memory, it is the one that its CUDA provider says it uses.
    """
    for name in ("get_output_memory_infos", "get_input_memory_infos"):  # from 1.23 on
        for memory in getattr(session, name, tuple)():
            if memory.name == "Cuda":
                return int(memory.device_id)
    said = session.get_provider_options().get(_CUDA_PROVIDER, {}).get("device_id")
    return None if said is None else int(said)


def where(session: Any, cuda: int | None) -> Device:
    """Return the device of the provider that a session prefers now; well under a microsecond.

    ONNX Runtime replaces the session inside by one for the CPU when a run fails, unless that is
    switched off; then it shows here.
    """
    return _device_of(session.get_providers()[0], cuda)


def evidence_of(voices: Iterable[Seen]) -> tuple[Evidence, ...]:
    """Return what the sessions of all voices amount to."""
    seen = tuple(voices)
    return (*_observed(seen), *_declared(seen))


def _observed(seen: tuple[Seen, ...]) -> list[Evidence]:
    """Count the operators that matter by where they were put, over all voices."""
    operators: dict[tuple[Device, str], Counter[str]] = {}
    for voice in seen:
        nodes = voice.nodes or ()
        heavy = [node for node in nodes if node[1] in _HEAVY]
        for provider, sort in heavy or nodes:
            key = _device_of(provider, voice.cuda), provider
            operators.setdefault(key, Counter())[sort] += 1
    total = sum(counts.total() for counts in operators.values())
    names = ", ".join(voice.voice for voice in seen)
    return [
        Evidence(
            kind=MODEL,
            strength=Strength.OBSERVED,
            device=device,
            says=f"ONNX Runtime put {counts.total()} of {total} compute operators of {names} on "
            f"{provider} ({_sorts(counts)})",
            share=None if len(operators) == 1 else counts.total() / total,
        )
        for (device, provider), counts in operators.items()
    ]


def _declared(seen: tuple[Seen, ...]) -> list[Evidence]:
    told = {_device_of(voice.providers[0], voice.cuda): voice for voice in reversed(seen)}
    return [
        Evidence(
            kind=MODEL,
            strength=Strength.DECLARED,
            device=device,
            says=f"the session of {voice.voice} has the providers {', '.join(voice.providers)}",
        )
        for device, voice in reversed(told.items())
    ]


def _device_of(provider: str, cuda: int | None) -> Device:
    if provider == _CUDA_PROVIDER:
        # Some GPU, which nobody may take for the one that was asked for.
        return CUDA if cuda is None else Device(f"cuda:{cuda}")
    kind = provider.removesuffix("ExecutionProvider").lower()
    return CPU if kind == "cpu" else Device(kind)


def _sorts(counts: Counter[str]) -> str:
    return ", ".join(f"{number} {sort}" for sort, number in counts.most_common(_SHOWN))
