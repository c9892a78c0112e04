"""Settings of pip and uv that prefer wheels for the CPU."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evakit.devices.index_settings import cpu_settings, without_credentials

CPU = "https://download.pytorch.org/whl/cpu"


@pytest.fixture
def found(tmp_path):
    """A function that says what is found on a machine with these files and variables."""

    def look(files=None, *, system="linux", **environ):
        for name, text in (files or {}).items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        (tmp_path / "project/deeper").mkdir(parents=True, exist_ok=True)
        settings = cpu_settings(
            {"HOME": str(tmp_path / "user"), **environ},
            folder=tmp_path / "project/deeper",
            prefix=tmp_path / "env",
            root=tmp_path,
            system=system,
        )
        return [setting.replace(f"{tmp_path}{os.sep}", "") for setting in settings]

    return look


@pytest.fixture
def wheels(tmp_path):
    """A folder with one CPU wheel among others."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    (folder / "numpy-2.4.6-cp311-cp311-linux_x86_64.whl").touch()
    (folder / "torch-2.13.0+cpu-cp311-cp311-manylinux_2_28_x86_64.whl").touch()
    return folder


@pytest.mark.parametrize(
    "name",
    [
        "PIP_INDEX_URL",
        "PIP_EXTRA_INDEX_URL",
        "PIP_FIND_LINKS",
        "UV_DEFAULT_INDEX",
        "UV_INDEX",
        "UV_INDEX_URL",
        "UV_EXTRA_INDEX_URL",
        "UV_FIND_LINKS",
    ],
)
def test_an_index_of_cpu_wheels_in_a_variable_is_found(found, name):
    assert found(**{name: CPU}) == [f"{name}={CPU}"]


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (f"https://pypi.org/simple {CPU}", CPU),
        (f"pytorch={CPU},other=https://example.org", f"pytorch={CPU}"),
        (
            "https://download.pytorch.org/whl/nightly/cpu",
            "https://download.pytorch.org/whl/nightly/cpu",
        ),
        (
            "https://joe:s3cret@mirror.example.org/whl/cpu?token=s3cret",
            "https://***@mirror.example.org/whl/cpu?***",
        ),
        (f"{CPU}/torch_stable.html", f"{CPU}/torch_stable.html"),
    ],
)
def test_only_what_prefers_the_cpu_is_shown_and_no_credentials(found, value, shown):
    assert found(PIP_EXTRA_INDEX_URL=value) == [f"PIP_EXTRA_INDEX_URL={shown}"]


@pytest.mark.parametrize(
    "value",
    [
        "",
        "https://pypi.org/simple",
        "https://download.pytorch.org/whl/cu130",
        "https://download.pytorch.org/whl/torch_stable.html",  # holds all, and `cu` is after `cpu`
        "https://example.org/cpu",
        "https://example.org/whl/cpuinfo",
    ],
)
def test_other_indexes_are_none_of_our_business(found, value):
    assert found(PIP_EXTRA_INDEX_URL=value, UV_INDEX=value, PIP_FIND_LINKS=value) == []


def test_a_folder_of_cpu_wheels_is_found(found, wheels):
    assert found(PIP_FIND_LINKS=f"/nonexistent {wheels}") == ["PIP_FIND_LINKS=wheels"]
    assert found(UV_FIND_LINKS=f"{wheels},/nonexistent") == ["UV_FIND_LINKS=wheels"]
    assert found(PIP_FIND_LINKS=wheels.as_uri()) == ["PIP_FIND_LINKS=file://wheels"]
    assert found(PIP_FIND_LINKS="../../wheels") == ["PIP_FIND_LINKS=../../wheels"]
    assert found(PIP_INDEX_URL=str(wheels)) == []  # which is no list of files


def test_a_folder_at_home_is_found(found, wheels, monkeypatch):
    monkeypatch.setenv("HOME", str(wheels.parent))
    monkeypatch.setenv("USERPROFILE", str(wheels.parent))
    assert found(PIP_FIND_LINKS="~/wheels") == ["PIP_FIND_LINKS=~/wheels"]


def test_a_folder_of_other_wheels_is_not(found, wheels):
    for wheel in wheels.glob("*cpu*"):
        wheel.unlink()
    (wheels / "notes+cpu.txt").touch()
    assert found(PIP_FIND_LINKS=str(wheels)) == []


@pytest.mark.parametrize(
    "value", ["~nobody/wheels", "file://", "\0", "file:///%00", "http://[", "."]
)
def test_a_place_that_is_none_is_passed_over(found, value):
    assert found(PIP_FIND_LINKS=value, UV_FIND_LINKS=value) == []


def test_the_backend_that_uv_is_told_is_found(found):
    assert found(UV_TORCH_BACKEND="cpu") == ["UV_TORCH_BACKEND=cpu"]
    assert found(UV_TORCH_BACKEND="cu130") == []
    assert found({"project/pyproject.toml": '[tool.uv.pip]\ntorch-backend = "cpu"\n'}) == [
        "project/pyproject.toml: torch-backend = cpu"
    ]


@pytest.mark.parametrize(
    ("file", "system", "environ"),
    [
        ("etc/pip.conf", "linux", {}),
        ("etc/xdg/pip/pip.conf", "linux", {}),
        ("user/.config/pip/pip.conf", "linux", {}),
        ("user/.pip/pip.conf", "linux", {}),
        ("env/pip.conf", "linux", {}),
        ("etc/pip.conf", "darwin", {}),
        ("Library/Application Support/pip/pip.conf", "darwin", {}),
        ("user/Library/Application Support/pip/pip.conf", "darwin", {}),
        ("user/.config/pip/pip.conf", "darwin", {}),
        ("ProgramData/pip/pip.ini", "win32", {}),
        ("user/AppData/Roaming/pip/pip.ini", "win32", {}),
        ("user/pip/pip.ini", "win32", {}),
        ("env/pip.ini", "win32", {}),
    ],
)
def test_pips_files_are_read_where_pip_reads_them(found, file, system, environ):
    text = f"[global]\ntimeout = 60\nextra-index-url =\n    https://pypi.org/simple\n    {CPU}\n"
    assert found({file: text}, system=system) == [f"{file}: extra-index-url = {CPU}"]


def test_the_folders_that_the_environment_names_are_looked_into(found, tmp_path):
    text = f"[install]\nindex-url={CPU}\n"
    files = {"a/pip/pip.conf": text, "b/pip/pip.conf": text, "mine.conf": text}
    environ = {
        "XDG_CONFIG_DIRS": f"{tmp_path}/nothing:{tmp_path}/a",
        "XDG_CONFIG_HOME": f"{tmp_path}/b",
        "PIP_CONFIG_FILE": f"{tmp_path}/mine.conf",
    }
    assert found(files, **environ) == [
        f"{file}: index-url = {CPU}" for file in ("a/pip/pip.conf", "b/pip/pip.conf", "mine.conf")
    ]
    assert found(files, **{**environ, "PIP_CONFIG_FILE": os.devnull}) == []


def test_a_folder_of_cpu_wheels_in_pips_file_is_found(found, wheels):
    text = f"[global]\nfind-links =\n  /nonexistent\n  {wheels}\nno-index = true\n"
    assert found({"etc/pip.conf": text}) == ["etc/pip.conf: find-links = wheels"]
    text = f"[global]\ncache-dir = {wheels}\n"
    assert found({"etc/pip.conf": text}) == []


@pytest.mark.parametrize(
    "file",
    [
        "user/.config/uv/uv.toml",
        "etc/xdg/uv/uv.toml",
        "etc/uv/uv.toml",
        "project/deeper/uv.toml",
        "project/uv.toml",
        "uv.toml",
    ],
)
def test_uvs_files_are_read_where_uv_reads_them(found, file):
    text = f'[[index]]\nname = "pytorch"\nurl = "{CPU}"\n'
    assert found({file: text}) == [f"{file}: url = {CPU}"]
    assert found(UV_NO_CONFIG="1") == []


def test_the_file_that_uv_is_told_replaces_the_others(found, tmp_path):
    text = f'index-url = "{CPU}"\n'
    files = {"uv.toml": text, "mine.toml": text}
    assert found(files, UV_CONFIG_FILE=f"{tmp_path}/mine.toml") == [f"mine.toml: index-url = {CPU}"]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (
            f'[tool.uv]\nindex = [{{ name = "p", url = "{CPU}", explicit = true }}]\n',
            f"index = {CPU}",
        ),
        (f'[tool.uv]\nextra-index-url = [\n  "{CPU}",\n]\n', f"extra-index-url = {CPU}"),
        (f'[tool.uv.pip]\nextra_index_url = ["{CPU}"]\n', f"extra_index_url = {CPU}"),
        ("[tool.uv]\nfind-links = ['WHEELS']\n", "find-links = wheels"),
    ],
)
def test_a_project_is_read_however_it_is_written(found, wheels, text, shown):
    files = {"project/pyproject.toml": text.replace("WHEELS", str(wheels))}
    assert found(files) == [f"project/pyproject.toml: {shown}"]


@pytest.mark.parametrize("mark", ["#", ";", "  # "])
def test_what_is_commented_out_does_not_count(found, mark):
    assert found({"etc/pip.conf": f"[global]\n{mark}index-url = {CPU}\n"}) == []


def test_a_file_that_is_no_text_is_passed_over(found, tmp_path):
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/pip.conf").write_bytes(bytes(range(256)) * 5000)
    (tmp_path / "etc/uv").mkdir()
    (tmp_path / "etc/uv/uv.toml").mkdir()
    assert found() == []


def test_a_setting_is_named_once(found):
    assert found(PIP_EXTRA_INDEX_URL=f"{CPU} {CPU}") == [f"PIP_EXTRA_INDEX_URL={CPU}"]


def test_a_current_folder_that_was_removed_has_no_project(tmp_path, monkeypatch):
    folder = tmp_path / "gone"
    folder.mkdir()
    monkeypatch.chdir(folder)
    folder.rmdir()
    environ = {"PIP_INDEX_URL": CPU, "HOME": str(tmp_path)}
    assert cpu_settings(environ, root=tmp_path, prefix=tmp_path) == (f"PIP_INDEX_URL={CPU}",)


@pytest.mark.parametrize(
    ("text", "hidden"),
    [
        ("https://token@host/simple", "https://***@host/simple"),
        ("https://joe:p@ss:word@host/simple", "https://***@host/simple"),
        ("https://host/simple?key=1&sig=2", "https://host/simple?***"),
        ("https://host/simple", "https://host/simple"),
        ("name=https://joe:pass@host", "name=https://***@host"),
        ("/srv/wheels@2", "/srv/wheels@2"),
    ],
)
def test_credentials_are_hidden(text, hidden):
    assert without_credentials(text) == hidden


@given(secret=st.text(st.characters(exclude_characters="/", exclude_categories=["Z", "C"])))
def test_no_password_is_shown_whatever_it_is_made_of(secret):
    shown = without_credentials(f"https://joe:{secret}@mirror.example.org/whl/cpu")
    assert shown == "https://***@mirror.example.org/whl/cpu"
