"""Where a voice runs: each silent way to the CPU is an error, and the GPU is proven or not claimed.

ONNX Runtime is the real one, without CUDA; what it would show with CUDA is played by `on_cuda`.
"""

from __future__ import annotations

import warnings
from types import SimpleNamespace

import numpy as np
import onnxruntime
import pytest
from onnxruntime.capi import onnxruntime_pybind11_state as native

from evakit.abc import Evidence, LoadContext, Strength, TTSOptions
from evakit.devices import Device, Installed, Verdict, Wheel, judge
from evakit.devices.device import CPU
from evakit.errors import (
    ConfigurationError,
    DeviceError,
    DriverError,
    MissingLibraryError,
    SilentFallbackError,
    SynthesisError,
    VramBudgetError,
)
from evakit_piper import PiperTTS, _engine, _sessions
from evakit_piper._listening import captured, words_of_the_loader
from evakit_piper._placement import Seen, evidence_of, look
from evakit_piper._sessions import Runtime

CUDA = "CUDAExecutionProvider"
CUDA_1 = Device("cuda:1")
WORKED = Evidence(kind="warm-up", strength=Strength.ENVIRONMENT, device=CUDA_1, says="it spoke")


def proof_of(tts):
    return judge(CUDA_1, [*tts.evidence(), WORKED])


class Failing:
    """What is inside a session, failing as a GPU's provider does in a run."""

    def __init__(self, inside, error):
        self.inside = inside
        self.error = error

    def run(self, *_):
        raise self.error

    def __getattr__(self, name):
        return getattr(self.inside, name)


def fail(session, error):
    session._sess = Failing(session._sess, error)


def session_of(tts):
    (voice,) = tts._loaded.values()
    return voice._voice.session


# The ways to the CPU, with the real ONNX Runtime.


def test_a_build_without_cuda_is_refused_at_once_with_the_reason_and_the_cure(
    tiny, piper, monkeypatch, capfd
):
    monkeypatch.setattr(_engine.LoadedVoice, "say", pytest.fail)  # before any work is done
    with pytest.raises(SilentFallbackError) as caught:
        piper(tiny(), device="cuda:0")
    error = caught.value
    assert (error.component, error.wanted, error.found) == ("piper", "cuda:0", "cpu")
    assert "'CUDAExecutionProvider' is not in available provider names" in error.why
    assert "made a session for CPUExecutionProvider" in str(error)
    cure, keep = error.fixes
    assert cure.pip == (
        "pip uninstall -y onnxruntime onnxruntime-gpu && "
        'pip install "onnxruntime-gpu[cuda,cudnn]>=1.28,<2"'
    )
    assert cure.uv == (
        "uv pip uninstall onnxruntime onnxruntime-gpu && "
        'uv pip install "onnxruntime-gpu[cuda,cudnn]>=1.28,<2"'
    )
    assert "override-dependencies" in keep.what
    assert capfd.readouterr() == ("", "")


def test_a_refusal_leaves_nothing_loaded(tiny):
    tts = PiperTTS(str(tiny()))
    with pytest.raises(SilentFallbackError):
        tts.load_model(LoadContext(device=Device("cuda:0")))
    assert tts.evidence() == ()
    tts.unload_model()
    tts.load_model(LoadContext())
    assert tts.quick_check() == CPU


@pytest.mark.parametrize("name", ["auto", "GPU-1234", "cuda", "remote", "cuda:x"])
def test_a_device_that_is_not_exact_is_refused(tiny, name):
    with pytest.raises((DeviceError, ConfigurationError), match="by number"):
        PiperTTS(str(tiny())).load_model(LoadContext(device=Device(name)))


@pytest.fixture
def no_driver(monkeypatch):
    """Makes ONNX Runtime fail as with CUDA and without a driver, at the place where it does."""
    create = onnxruntime.InferenceSession._create_inference_session

    def fails_on_cuda(self, providers, *more):
        if providers != ["CPUExecutionProvider"]:
            self._fallback_providers = ["CPUExecutionProvider"]
            raise RuntimeError(
                "CUDA failure 35: CUDA driver version is insufficient for CUDA runtime version ; "
                "GPU=-1 ; hostname=atlas ; expr=cudaSetDevice(info_.device_id);"
            )
        create(self, providers, *more)

    monkeypatch.setattr(onnxruntime.InferenceSession, "_create_inference_session", fails_on_cuda)


def test_left_to_itself_onnxruntime_makes_another_session_where_the_driver_is_missing(
    tiny, no_driver, capsys
):
    """What `enable_fallback=0` is there for; were it gone, the next test would prove nothing."""
    session = onnxruntime.InferenceSession(str(tiny()), providers=[CUDA, "CPUExecutionProvider"])
    assert session.get_providers() == ["CPUExecutionProvider"]
    assert "Falling back" in capsys.readouterr().out


def test_a_missing_driver_is_an_error(tiny, piper, no_driver, capfd):
    with pytest.raises(DriverError, match="CUDA failure 35") as caught:
        piper(tiny(), device="cuda:0")
    assert isinstance(caught.value.__cause__, RuntimeError)
    assert "atlas" not in str(caught.value)
    assert capfd.readouterr() == ("", "")


def test_a_fallback_that_nothing_is_said_of_is_explained_by_the_loader(tiny, piper, monkeypatch):
    """As of builds with CUDA before 1.32, which tell the terminal alone."""

    class Silent(onnxruntime.InferenceSession):
        def __init__(self, graph, options, providers, **more):
            super().__init__(graph, options, providers=["CPUExecutionProvider"], **more)

    monkeypatch.setattr(onnxruntime, "InferenceSession", Silent)
    monkeypatch.setattr(
        _sessions, "words_of_the_loader", lambda ort: "Failed to load library x: libcudnn.so.9"
    )
    with pytest.raises(MissingLibraryError, match=r"libcudnn\.so\.9"):
        piper(tiny(), device="cuda:0")


def test_left_to_itself_onnxruntime_replaces_a_session_whose_run_fails(tiny, capsys):
    """What `disable_fallback` is there for; were it gone, the next test would prove nothing."""
    graph = tiny()
    session = onnxruntime.InferenceSession(str(graph), providers=["CPUExecutionProvider"])
    session._providers = [CUDA, "CPUExecutionProvider"]
    fail(session, native.EPFail("CUDA failure 700: an illegal memory access"))
    fed = {
        "input": np.ones((1, 9), np.int64),
        "input_lengths": np.array([9], np.int64),
        "scales": np.ones(3, np.float32),
    }
    assert session.run(None, fed)[0].size > 0
    assert session.get_providers() == ["CPUExecutionProvider"]
    assert "Falling back" in capsys.readouterr().out


def test_a_run_that_fails_on_the_gpu_is_an_error_and_the_session_stays(tiny, piper, on_cuda, capfd):
    tts = piper(tiny(), device="cuda:1")
    fail(session_of(tts), native.EPFail("CUDA failure 700: an illegal memory access"))
    with pytest.raises(SynthesisError) as caught:
        list(tts.synthesize("Hello.", TTSOptions()))
    assert isinstance(caught.value.__cause__, native.EPFail)
    assert tts.quick_check() == CUDA_1
    assert capfd.readouterr() == ("", "")


def test_a_session_that_was_replaced_shows_in_the_quick_check_and_in_the_evidence(
    tiny, piper, on_cuda, capfd
):
    tts = piper(tiny(), device="cuda:1")
    assert proof_of(tts).verdict is Verdict.PROVEN
    session = session_of(tts)
    fail(session, native.EPFail("CUDA failure 700: an illegal memory access"))
    session.enable_fallback()
    assert list(tts.synthesize("Hello.", TTSOptions()))
    assert tts.quick_check() == CPU
    assert (proof_of(tts).verdict, proof_of(tts).device) == (Verdict.REFUTED, CPU)


# The GPU, played.


def test_a_voice_on_a_gpu_is_proven(tiny, piper, on_cuda):
    tts = piper(tiny(), device="cuda:1")
    assert tts.warm_up_model().amount > 0
    assert tts.quick_check() == CUDA_1
    proof = proof_of(tts)
    assert (proof.verdict, proof.device) == (Verdict.PROVEN, CUDA_1)
    observed, declared, _ = proof.evidence
    assert f"on {CUDA}" in observed.says
    assert f"{CUDA}, CPUExecutionProvider" in declared.says


def test_cuda_is_asked_for_by_its_number_then_the_cpu_and_nothing_else(tiny, piper, on_cuda):
    piper(tiny(), device="cuda:1")
    ((providers, more),) = on_cuda.made
    assert more == {"enable_fallback": 0}
    assert providers == [
        (
            CUDA,
            {
                "device_id": 1,
                "cudnn_conv_algo_search": "HEURISTIC",
                "arena_extend_strategy": "kSameAsRequested",
            },
        ),
        "CPUExecutionProvider",
    ]


def test_a_limit_of_memory_is_handed_on(tiny, on_cuda):
    tts = PiperTTS(str(tiny()))
    tts.load_model(LoadContext(device=CUDA_1, vram_bytes=700 << 20))
    (((_, options), _),) = [providers for providers, _ in on_cuda.made]
    assert options["gpu_mem_limit"] == 700 << 20
    assert options["cudnn_conv_use_max_workspace"] == 0


def test_every_session_states_its_threads_and_does_not_spin_or_fall_back(tiny, on_cuda):
    tts = PiperTTS(str(tiny()))
    tts.load_model(LoadContext(device=CUDA_1, threads=3))
    session = session_of(tts)
    options = session.get_session_options()
    assert (options.intra_op_num_threads, options.inter_op_num_threads) == (3, 1)
    assert options.get_session_config_entry("session.intra_op.allow_spinning") == "0"
    assert session._enable_fallback is False


def test_without_its_observation_a_proof_is_none(tiny, piper, on_cuda):
    observed, declared = piper(tiny(), device="cuda:1").evidence()
    assert judge(CUDA_1, [observed, WORKED]).verdict is Verdict.PROVEN
    assert judge(CUDA_1, [declared, WORKED]).verdict is Verdict.UNKNOWN


def test_a_session_without_its_cuda_provider_refutes_what_was_seen_before():
    """The declaration's own worth: it would go unseen if only the operators were looked at."""
    stale = Seen(voice="joe", providers=("CPUExecutionProvider",), nodes=((CUDA, "Conv"),), cuda=1)
    observed, declared = evidence_of([stale])
    assert judge(CUDA_1, [observed, WORKED]).verdict is Verdict.PROVEN
    assert judge(CUDA_1, [observed, declared, WORKED]).verdict is Verdict.REFUTED


def test_an_older_onnxruntime_that_does_not_tell_is_never_a_proof():
    seen = Seen(voice="joe", providers=(CUDA, "CPUExecutionProvider"), nodes=None, cuda=1)
    assert judge(CUDA_1, [*evidence_of([seen]), WORKED]).verdict is Verdict.UNKNOWN


@pytest.mark.parametrize("tells", ["tells_memory", "tells_number"])
def test_the_number_of_the_gpu_is_read_from_its_memory_or_else_from_the_provider(
    tiny, piper, on_cuda, tells
):
    for name in ("tells_memory", "tells_number"):
        setattr(on_cuda, name, name == tells)
    assert proof_of(piper(tiny(), device="cuda:1")).verdict is Verdict.PROVEN


def test_a_gpu_whose_number_nobody_tells_is_not_taken_for_the_one_asked_for(tiny, piper, on_cuda):
    on_cuda.tells_memory = on_cuda.tells_number = False
    assert proof_of(piper(tiny(), device="cuda:1")).verdict is Verdict.REFUTED


def test_another_gpu_is_not_the_one_asked_for(tiny, piper, on_cuda):
    proof = proof_of(piper(tiny(), device="cuda:0"))
    assert (proof.verdict, proof.device) == (Verdict.REFUTED, Device("cuda:0"))


HEAVY_OF_JOE = 158


@pytest.fixture
def seen_of_joe(joe):
    """The real operators of joe: those on shapes on the CPU, as the CUDA provider leaves them."""
    (voice,) = joe._loaded.values()
    real = look("joe", voice._voice.session)

    def seen(heavy_on_cpu: int = 0) -> Seen:
        nodes, left = [], heavy_on_cpu
        for _, sort in real.nodes:
            is_heavy = sort in {"Conv", "ConvTranspose", "MatMul"}
            stays = not is_heavy or left > 0
            left -= is_heavy and left > 0
            nodes.append(("CPUExecutionProvider" if stays else CUDA, sort))
        providers = (CUDA, "CPUExecutionProvider")
        return Seen(voice="joe", providers=providers, nodes=tuple(nodes), cuda=1)

    return seen


def test_operators_on_shapes_may_stay_on_the_cpu(seen_of_joe):
    seen = seen_of_joe()
    assert sum(provider == "CPUExecutionProvider" for provider, _ in seen.nodes) > 2000
    evidence = evidence_of([seen])
    assert evidence[0].says.startswith(f"ONNX Runtime put {HEAVY_OF_JOE} of {HEAVY_OF_JOE} ")
    assert judge(CUDA_1, [*evidence, WORKED]).verdict is Verdict.PROVEN


def test_one_convolution_on_the_cpu_makes_it_partial(seen_of_joe):
    evidence = evidence_of([seen_of_joe(heavy_on_cpu=1)])
    shares = {piece.device: piece.share for piece in evidence if piece.share is not None}
    assert shares == {
        CUDA_1: pytest.approx(1 - 1 / HEAVY_OF_JOE),
        CPU: pytest.approx(1 / HEAVY_OF_JOE),
    }
    proof = judge(CUDA_1, [*evidence, WORKED])
    assert (proof.verdict, proof.device) == (Verdict.PARTIAL, CUDA_1)


def test_all_convolutions_on_the_cpu_refute_it_whatever_the_session_declares(seen_of_joe):
    proof = judge(CUDA_1, [*evidence_of([seen_of_joe(heavy_on_cpu=HEAVY_OF_JOE)]), WORKED])
    assert (proof.verdict, proof.device) == (Verdict.REFUTED, CPU)


def test_all_voices_are_looked_at(tiny, piper, on_cuda):
    tts = piper(tiny("first"), device="cuda:1")
    second = tiny("second")
    tts.load_voice(tts.find_voice(str(second)), {})
    assert proof_of(tts).verdict is Verdict.PROVEN
    on_cuda.stays = frozenset({"Sin"})
    tts.load_voice(tts.find_voice(str(tiny("third"))), {})
    assert proof_of(tts).verdict is Verdict.PARTIAL
    astray = tts._loaded[str(second)]._voice.session
    astray.set_providers(["CPUExecutionProvider"])
    assert tts.quick_check() == CPU


# What is prepared before a session is made, and what is heard meanwhile.


def installed_for(*cuda):
    wheel = Wheel(
        engine="onnxruntime", package="onnxruntime", version="1.31.1", folder=None, cuda=cuda
    )
    return Installed(wheels=[wheel])


@pytest.mark.parametrize(
    ("cuda", "first", "last"),
    [((13, 0), "libcublasLt.so.13", "libcudnn.so.9"), ((12, 8), "libcublasLt.so.12", None)],
)
def test_the_libraries_of_its_cuda_are_loaded_before_onnxruntime(monkeypatch, cuda, first, last):
    done = []
    monkeypatch.setattr(_sessions, "look_at_packages", lambda: installed_for(*cuda))
    monkeypatch.setattr(
        _sessions, "preload", lambda installed, names, component: done.append((names, component))
    )
    real = _sessions.import_onnxruntime
    monkeypatch.setattr(
        _sessions, "import_onnxruntime", lambda: done.append("onnxruntime") or real()
    )
    Runtime(device=CUDA_1)
    (names, component), imported = done
    assert (names[0], names[-1], imported) == (first, last or "libcudnn.so.9", "onnxruntime")
    assert component == "piper"


def test_nothing_is_loaded_for_the_cpu_or_for_a_build_without_cuda(monkeypatch):
    monkeypatch.setattr(_sessions, "preload", pytest.fail)
    Runtime(device=CUDA_1)  # the build that is installed here
    monkeypatch.setattr(_sessions, "look_at_packages", pytest.fail)
    Runtime()


def test_a_library_that_is_missing_is_said_with_a_cure_for_all_of_them(tiny, piper, monkeypatch):
    monkeypatch.setattr(_sessions, "look_at_packages", lambda: installed_for(13, 0))
    with pytest.raises(MissingLibraryError, match=r"piper needs libcublasLt\.so\.13") as caught:
        piper(tiny(), device="cuda:0")
    assert caught.value.wanted == "cuda:0"
    assert "neither this system nor a wheel" in caught.value.why
    (fix,) = caught.value.fixes
    assert fix.pip == 'pip install "onnxruntime-gpu[cuda,cudnn]>=1.28,<2"'


class Bundled:
    """An ONNX Runtime that carries its CUDA provider as a plugin."""

    def __init__(self, *registered):
        self.registered = [SimpleNamespace(ep_name=name) for name in registered]
        self.calls = []

    def get_build_info(self):
        return "ORT Build Info: git-branch=HEAD, cuda-plugin-ep=1, build type=Release"

    def get_ep_devices(self):
        return self.registered

    def preload_dlls(self, **options):
        self.calls.append(options)


@pytest.mark.parametrize(
    ("registered", "calls"),
    [
        (["CPUExecutionProvider"], [{"cuda": False, "cudnn": False, "msvc": False}]),
        (["CPUExecutionProvider", CUDA], []),
    ],
)
def test_a_bundled_provider_is_registered_once_its_libraries_are_loaded(registered, calls):
    runtime = Runtime()
    runtime._ort = Bundled(*registered)
    runtime._register_bundled_provider()
    assert runtime._ort.calls == calls


def test_a_plugin_with_the_cuda_provider_is_taken_though_the_build_has_none(
    tiny, piper, on_cuda, capfd
):
    """The real warning comes: this ONNX Runtime has no CUDA of its own. It means nothing then."""

    class Plugin(on_cuda):
        def __init__(self, graph, options, providers, **more):
            onnxruntime.capi.onnxruntime_inference_collection.check_and_normalize_provider_args(
                providers, None, ["CPUExecutionProvider"]
            )
            super().__init__(graph, options, providers, **more)

    onnxruntime.InferenceSession = Plugin  # `on_cuda` takes it away again
    assert proof_of(piper(tiny(), device="cuda:1")).verdict is Verdict.PROVEN
    assert capfd.readouterr() == ("", "")


def test_a_log_line_says_more_than_a_warning():
    with captured(onnxruntime) as said:
        said.lines.append((2, "No registered plugin EP device found"))
        warnings.warn("Specified provider 'X' is not available", UserWarning, stacklevel=1)
    assert said.first() == "Specified provider 'X' is not available"
    said.lines.append((3, "Failed to load library libonnxruntime_providers_cuda.so"))
    assert said.first() == "Failed to load library libonnxruntime_providers_cuda.so"


def test_warnings_of_others_are_passed_on():
    with pytest.warns(DeprecationWarning, match="of the host"), captured(onnxruntime) as said:
        warnings.warn("of the host", DeprecationWarning, stacklevel=1)
    assert said.first() is None


def test_an_onnxruntime_without_a_log_to_listen_to_is_silenced():
    severities = []
    older = SimpleNamespace(set_default_logger_severity=severities.append)
    with captured(older):
        assert severities == [4]
    assert severities == [4, 2]  # which is its default


def test_what_the_loader_says_of_its_cuda_library_is_the_reason_where_there_is_no_other(tmp_path):
    ort = SimpleNamespace(__file__=str(tmp_path / "__init__.py"))
    assert words_of_the_loader(ort) is None
    (tmp_path / "capi").mkdir()
    for name in ("libonnxruntime_providers_cuda.so", "onnxruntime_providers_cuda.dll"):
        (tmp_path / "capi" / name).write_text("no library")
    assert words_of_the_loader(ort).startswith("Failed to load library")


# Failures of the first words, and what is estimated before.


@pytest.mark.parametrize(
    ("error", "kind", "names"),
    [
        (
            native.NotImplemented(
                "[ONNXRuntimeError] : 9 : NOT_IMPLEMENTED : Could not find an implementation "
                "for Conv(11) node with name '/enc/conv'"
            ),
            MissingLibraryError,
            "nvidia-cudnn-cu13",
        ),
        (
            native.RuntimeException(
                "Failed to allocate memory for requested buffer of size 939524096"
            ),
            VramBudgetError,
            "939524096",
        ),
    ],
)
def test_first_words_that_fail_on_the_gpu_are_a_matter_of_the_device(
    tiny, piper, on_cuda, error, kind, names
):
    tts = piper(tiny(), device="cuda:1")
    fail(session_of(tts), error)
    with pytest.raises(kind, match=names) as caught:
        tts.warm_up_model()
    assert caught.value.__cause__ is error
    assert caught.value.wanted == "cuda:1"


def test_the_words_of_a_voice_that_is_loaded_later_are_a_matter_of_the_device_too(
    tiny, piper, on_cuda, monkeypatch
):
    tts = piper(tiny("first"), device="cuda:1")
    error = native.Fail("CUDA failure 2: out of memory ; GPU=1 ; hostname=secret ; expr=x")

    def breaks(*_):
        raise error

    monkeypatch.setattr(_engine.LoadedVoice, "_run", breaks)
    with pytest.raises(VramBudgetError) as caught:
        tts.load_voice(tts.find_voice(str(tiny("second"))), {})
    assert "secret" not in str(caught.value)
    assert [name.endswith("first.onnx") for name in tts._loaded] == [True]


def test_first_words_that_fail_on_the_cpu_are_a_matter_of_the_engine(tiny, piper):
    tts = piper(tiny())
    fail(session_of(tts), native.RuntimeException("out of memory"))
    with pytest.raises(SynthesisError, match="first words"):
        tts.warm_up_model()


def test_the_vowels_of_arabic_are_added_on_the_cpu_with_a_session_of_ours(
    tiny, piper, configuration, on_cuda
):
    from piper import tashkeel

    before = tashkeel.InferenceSession
    arabic = configuration(espeak={"voice": "ar"}, language={"code": "ar_JO"})
    tts = piper(tiny(configuration=arabic), device="cuda:1")
    assert [providers for providers, _ in on_cuda.made][1:] == [["CPUExecutionProvider"]]
    assert tashkeel.InferenceSession is before
    assert proof_of(tts).verdict is Verdict.PROVEN


def test_what_a_voice_takes_of_a_gpu_is_estimated_from_its_graph(tiny):
    context = LoadContext(device=CUDA_1)
    path = tiny()
    work = 192 << 20
    assert PiperTTS(str(path)).vram_estimate(context) == round(path.stat().st_size * 1.5) + work
    joe = PiperTTS().vram_estimate(context)
    assert joe == round(63_201_294 * 1.5) + work
    assert PiperTTS("en_US-ryan-high").vram_estimate(context) > joe
    path.unlink()
    assert PiperTTS(str(path)).vram_estimate(context) is None
