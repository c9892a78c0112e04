"""What evidence amounts to: a proof stands on each of its pieces."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evakit.devices import Device, Evidence, Strength, Verdict, WarmUp, judge
from evakit.devices.evidence import CONTEXT, MEMORY, MODEL, WARM_UP

CPU, CUDA = Device("cpu"), Device("cuda:0")
KINDS = (MODEL, CONTEXT, WARM_UP, MEMORY)


def seen(kind, device=CUDA, strength=None, share=None):
    if strength is None:
        strength = Strength.OBSERVED if kind == MODEL else Strength.ENVIRONMENT
    says = f"{kind} speaks for {device}"
    return Evidence(kind=kind, strength=strength, device=device, says=says, share=share)


FULL = tuple(seen(kind) for kind in KINDS)


def test_all_that_is_needed_proves():
    proof = judge(CUDA, FULL, required=KINDS)
    assert proof.verdict is Verdict.PROVEN
    assert (proof.device, proof.reasons) == (CUDA, ())


@pytest.mark.parametrize("kind", KINDS)
def test_without_any_one_piece_nothing_is_proven(kind):
    rest = [piece for piece in FULL if piece.kind != kind]
    proof = judge(CUDA, rest, required=KINDS)
    assert proof.verdict is Verdict.UNKNOWN
    assert len(proof.reasons) == 1


@pytest.mark.parametrize("kind", KINDS)
def test_any_one_piece_that_speaks_for_another_device_refutes(kind):
    pieces = [seen(piece.kind, CPU) if piece.kind == kind else piece for piece in FULL]
    proof = judge(CUDA, pieces, required=KINDS)
    assert proof.verdict is Verdict.REFUTED
    assert proof.reasons == (f"{kind} speaks for cpu",)


def test_what_an_engine_declares_proves_nothing():
    declared = seen(MODEL, strength=Strength.DECLARED)
    proof = judge(CUDA, [declared, *FULL[1:]], required=KINDS)
    assert proof.verdict is Verdict.UNKNOWN
    assert "nothing that was observed" in proof.reasons[0]


def test_what_an_engine_declares_refutes_what_it_contradicts():
    declared = seen(MODEL, CPU, strength=Strength.DECLARED)
    assert judge(CUDA, [*FULL, declared], required=KINDS).verdict is Verdict.REFUTED


def test_a_model_in_two_places_is_partial_and_found_where_most_of_it_is():
    pieces = [seen(MODEL, CUDA, share=0.4), seen(MODEL, CPU, share=0.6), *FULL[1:]]
    proof = judge(CUDA, pieces, required=KINDS)
    assert (proof.verdict, proof.device) == (Verdict.PARTIAL, CPU)
    assert proof.reasons == ("model speaks for cpu",)


def test_a_share_of_nothing_neither_proves_nor_refutes():
    elsewhere = seen(MODEL, CPU, share=0.0)
    assert judge(CUDA, [*FULL, elsewhere], required=KINDS).verdict is Verdict.PROVEN
    here = seen(MODEL, CUDA, share=0.0)
    assert judge(CUDA, [here, *FULL[1:]], required=KINDS).verdict is Verdict.UNKNOWN


def test_no_evidence_is_no_verdict():
    proof = judge(CUDA, ())
    assert (proof.verdict, proof.device) == (Verdict.UNKNOWN, None)
    assert len(proof.reasons) == 2


pieces = st.builds(
    seen,
    st.sampled_from(KINDS),
    st.sampled_from([CPU, CUDA, Device("cuda:1")]),
    st.sampled_from(list(Strength)),
    st.none() | st.floats(0, 1),
)


@given(st.lists(pieces), st.sampled_from([CPU, CUDA]))
def test_proven_means_observed_there_and_nothing_against(evidence, wanted):
    proof = judge(wanted, evidence, required=(MODEL, WARM_UP))
    weighty = [piece for piece in evidence if piece.share != 0]
    if proof.verdict is Verdict.PROVEN:
        assert all(piece.device == wanted for piece in weighty)
        assert any(p.kind == MODEL and p.strength is Strength.OBSERVED for p in weighty)
        assert any(p.kind == WARM_UP for p in evidence)
        assert not proof.reasons
        assert proof.device == wanted
    else:
        assert proof.reasons


@given(st.lists(pieces), pieces)
def test_more_evidence_never_turns_a_refuted_placement_into_a_proven_one(evidence, more):
    if judge(CUDA, evidence).verdict in {Verdict.REFUTED, Verdict.PARTIAL}:
        assert judge(CUDA, [*evidence, more]).verdict is not Verdict.PROVEN


@given(st.lists(pieces, max_size=6), st.randoms())
def test_the_order_of_the_evidence_does_not_matter(evidence, random):
    shuffled = list(evidence)
    random.shuffle(shuffled)
    assert judge(CUDA, shuffled).verdict is judge(CUDA, evidence).verdict


@given(st.lists(pieces, max_size=4))
def test_a_proof_is_json(evidence):
    told = json.loads(json.dumps(judge(CUDA, evidence).to_json()))
    assert set(told) == {"verdict", "wanted", "device", "evidence", "reasons", "fix"}
    assert len(told["evidence"]) == len(evidence)


def test_a_warm_up_has_a_rate_where_there_is_one():
    assert WarmUp(seconds=0.5, amount=2.0, unit="s of audio").rate == 4.0
    assert WarmUp(seconds=0.0, amount=2.0, unit="s of audio").rate is None
    assert WarmUp(seconds=0.5, amount=0.0, unit="tokens").rate is None
    assert str(WarmUp(seconds=0.5, amount=2.0, unit="tokens")) == "2 tokens in 0.5 s"
