"""Fixtures for the tests of the core and of all plugins: event loops, settings, models, speech."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping

import pytest
from hypothesis import settings

from evakit.audio import Audio
from evakit.models import Model, ModelFile, ModelStore, WheelSource

# Where a test has to say the same each time; at a desk, new examples find new faults.
settings.register_profile("ci", derandomize=True, deadline=None)
if os.environ.get("CI"):
    settings.load_profile("ci")


# A program that is started in the background of a script is deaf to Ctrl-C, and so is all that it
# starts: the tests of Ctrl-C are to say the same there.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    """Each async test runs on both event loops."""
    return str(request.param)


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test sees the settings of whoever runs it; the models' folder alone is shared."""
    for name in list(os.environ):
        if name.startswith("EVAKIT_") and name != "EVAKIT_HOME":
            monkeypatch.delenv(name)


@pytest.fixture(scope="session")
def store() -> ModelStore:
    """The models of this machine; what is missing is fetched once and kept."""
    return ModelStore()


# Speech of the wheel `pytest-audioeval` (MIT), 16 kHz mono: what is said, and the file. Its
# clips that count are left out: how a number is written is no matter of hearing it.
_CLIPS = {
    "en/hello_world": (
        "Hello world.",
        73_256,
        "264c92e881fcc3bb7585ff666d129095fb5717c2cc333d10f253a34186be78ac",
    ),
    "en/quick_brown_fox": (
        "The quick brown fox jumps over the lazy dog.",
        184_952,
        "adc24a9b99267932370842f0d5be866dc2cd09e65af9762469c198493e36870b",
    ),
    "fr/bonjour_monde": (
        "Bonjour le monde.",
        92_264,
        "f7190d41c9773c9337db40020c74be9e1b965fdddb1da91f90b5d57aa28d38d7",
    ),
    "fr/pangrama": (
        "Portez ce vieux whisky au juge blond qui fume.",
        176_316,
        "97aee6fca112f4c562aed53be97fb715f744f5ec072e1f4a30ffaf94324da361",
    ),
}
_SPEECH = Model(
    name="speech:audioeval",
    kind="stt",
    files=tuple(
        ModelFile(
            f"{name}.wav",
            size,
            sha256,
            (
                WheelSource(
                    "pytest-audioeval",
                    "0.1.3",
                    (f"pytest_audioeval/samples/audio/{name}.wav",),
                ),
            ),
        )
        for name, (_, size, sha256) in _CLIPS.items()
    ),
    licence="MIT",
)


@pytest.fixture(scope="session")
def clips(store: ModelStore) -> Mapping[str, tuple[Audio, str]]:
    """Real speech: `clips["en/quick_brown_fox"]` is the audio and what is said in it."""
    folder = store.ensure(_SPEECH)
    return {
        name: (Audio.load(folder / f"{name}.wav"), text) for name, (text, _, _) in _CLIPS.items()
    }
