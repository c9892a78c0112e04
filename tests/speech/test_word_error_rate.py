"""Word error rates on recorded speech that nobody made for this project."""

from __future__ import annotations

import gzip
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import anyio
import jiwer
import pytest
from text_to_num import alpha2digit
from whisper_normalizer.basic import BasicTextNormalizer
from whisper_normalizer.english import EnglishTextNormalizer

import evakit
from evakit import plugins
from evakit.abc import LoadContext, STTOptions

pytestmark = [pytest.mark.speech, pytest.mark.timeout(900)]

_FRENCH_PROMPTS = 60
_SHORTEST_PROMPT = 8  # words


@pytest.fixture(scope="session")
def recordings() -> Path:
    """The folder with the unpacked packages."""
    script = Path(__file__).with_name("fetch.py")
    result = subprocess.run([sys.executable, script], capture_output=True, text=True, check=False)
    if result.returncode:
        pytest.fail(result.stderr.strip(), pytrace=False)
    return Path(result.stdout.strip())


@pytest.fixture(scope="session")
def english(recordings: Path) -> list[tuple[Path, str]]:
    """The ten clips of pocketsphinx-testdata that are WAV files with a transcription."""
    data = recordings / "pocketsphinx-testdata/usr/share/pocketsphinx/test/data"
    clips = []
    for texts in ("librivox/transcription", "cards/cards.transcription"):
        for said, name in re.findall(r"<s>(.*)</s> \((.*)\)", (data / texts).read_text()):
            clips.append(((data / texts).with_name(f"{name}.wav"), said.strip()))
    assert len(clips) == 10
    return clips


@pytest.fixture(scope="session")
def french(recordings: Path) -> list[tuple[Path, str]]:
    """The first sixty telephone prompts of eight words or more."""
    share = Path("usr/share")
    sounds = recordings / "asterisk-core-sounds-fr-wav" / share / "asterisk/sounds/fr_CA_f_June"
    texts = (
        recordings / "asterisk-core-sounds-fr" / share / "doc/asterisk-core-sounds-fr"
        "/core-sounds-fr.txt.gz"
    )
    prompts = []
    for line in gzip.decompress(texts.read_bytes()).decode().splitlines():
        name, _, said = line.partition(":")
        file = sounds / f"{name.strip()}.wav"
        if len(said.split()) >= _SHORTEST_PROMPT and file.is_file():
            prompts.append((file, said.strip()))
    assert len(prompts) >= _FRENCH_PROMPTS
    return prompts[:_FRENCH_PROMPTS]


def _english_words(text: str) -> str:
    # "five five" becomes 55 and "5 5" does not: every digit stands alone on both sides.
    return re.sub(r"(?<=\d)(?=\d)", " ", EnglishTextNormalizer()(text))


def _french_words(text: str) -> str:
    plain = BasicTextNormalizer()
    return plain(alpha2digit(plain(text), "fr", 0))  # every number in digits, "un" among them


def _word_error_rate(
    store: evakit.ModelStore,
    model: str,
    clips: list[tuple[Path, str]],
    language: str,
    words: Callable[[str], str],
) -> float:
    stt = plugins.discover().get("stt", "whisper").create(model)
    folders = {needed.name: store.ensure(needed) for needed in stt.models()}

    async def hear() -> list[str]:
        await stt.load(LoadContext(models=folders))
        heard = []
        for file, _ in clips:
            audio = evakit.Audio.load(file).resample(stt.sample_rate)
            async with stt.open(STTOptions(languages=(language,))) as session:
                await session.feed(audio)
                heard.append((await session.finish()).text)
        await stt.unload()
        return heard

    heard = anyio.run(hear)
    return float(jiwer.wer([words(said) for _, said in clips], [words(text) for text in heard]))


def _report(capsys: pytest.CaptureFixture[str], what: str, rate: float) -> None:
    with capsys.disabled():
        print(f"\nword error rate of {what}: {rate:.3f}")  # noqa: T201 (what one runs this for)


@pytest.mark.parametrize(("model", "bound"), [("tiny.en", 0.15), ("base", 0.10)])
def test_english_is_heard(store, english, model, bound, capsys):
    rate = _word_error_rate(store, model, english, "en", _english_words)
    _report(capsys, f"{model}, English", rate)
    assert rate <= bound


def test_french_on_the_telephone_is_heard(store, french, capsys):
    rate = _word_error_rate(store, "base", french, "fr", _french_words)
    _report(capsys, "base, French", rate)
    assert rate <= 0.25
