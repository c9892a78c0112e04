"""Models that are missing or broken, and devices that are not there."""

from __future__ import annotations

import pytest

from evakit.abc import LoadContext
from evakit.devices import Device
from evakit.errors import ConfigurationError, DeviceError, ModelError
from evakit_whisper import WhisperSTT


@pytest.fixture
def folder(store, tmp_path):
    """A copy of tiny.en whose files can be spoilt."""
    (model,) = WhisperSTT("tiny.en").models()
    source = store.ensure(model)
    target = tmp_path / "converted"
    target.mkdir()
    for file in model.files:
        (target / file.name).symlink_to(source / file.name)
    return target


def spoil(file, data):
    file.unlink()
    file.write_bytes(data)


def test_a_local_folder_is_loaded(folder):
    backend = WhisperSTT(folder)
    backend.load_model(LoadContext())
    assert backend.quick_check() == Device("cpu")
    assert backend.model_name == str(folder)
    backend.unload_model()


def test_a_missing_folder_is_a_model_error(tmp_path):
    with pytest.raises(ModelError, match="There is no folder"):
        WhisperSTT(tmp_path / "absent").load_model(LoadContext())


def test_a_model_that_was_not_fetched_says_how_to_fetch_it():
    with pytest.raises(ModelError, match="evakit models fetch whisper:base"):
        WhisperSTT("base").load_model(LoadContext())


@pytest.mark.parametrize("name", ["model.bin", "config.json", "tokenizer.json"])
def test_a_missing_file_is_named(folder, name):
    (folder / name).unlink()
    with pytest.raises(ModelError, match=f"{name} is missing"):
        WhisperSTT(folder).load_model(LoadContext())


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("model.bin", b""),
        ("model.bin", b"<html>not found</html>" * 100),
        ("config.json", b"no json"),
        ("tokenizer.json", b"{}"),
        ("tokenizer.json", b"no json"),
    ],
)
def test_a_broken_file_is_a_model_error_with_a_sentence(folder, name, data, capfd):
    spoil(folder / name, data)
    with pytest.raises(ModelError, match="holds no Whisper model that can be loaded") as caught:
        WhisperSTT(folder).load_model(LoadContext())
    assert caught.value.__cause__ is not None
    assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")


def test_a_truncated_model_is_a_model_error(folder):
    half = (folder / "model.bin").read_bytes()[:1_000_000]
    spoil(folder / "model.bin", half)
    with pytest.raises(ModelError, match=r"fetch .* again"):
        WhisperSTT(folder).load_model(LoadContext())


def test_a_missing_vocabulary_is_a_model_error(folder):
    (folder / "vocabulary.txt").unlink()
    with pytest.raises(ModelError, match="vocabulary"):
        WhisperSTT(folder).load_model(LoadContext())


def test_a_compute_type_that_the_cpu_lacks_is_a_configuration_error(folder):
    with pytest.raises(ConfigurationError, match="cannot compute with 'float16' on cpu"):
        WhisperSTT(folder, compute_type="float16").load_model(LoadContext())


def test_a_gpu_by_uuid_is_a_device_error(folder):
    with pytest.raises(DeviceError, match="by number"):
        WhisperSTT(folder).load_model(LoadContext(device=Device("GPU-1234")))
