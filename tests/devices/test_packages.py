"""Which builds are installed, read from their files without importing them."""

from __future__ import annotations

import importlib.metadata
import os
import subprocess
import sys
import sysconfig
import tracemalloc
from pathlib import Path

import made_site
import pytest
from made_site import ORT_CPU, ORT_CUDA, ORT_GPU, ORT_INFO, MadeSite, onnxruntime, torch, wheel
from native import compile_library

from evakit.devices.installed import Installed, Owner
from evakit.devices.packages import look_at_packages

PLAIN = 'const char* text(void) { return "text"; }'
GPU_CODE = 'const char code[] __attribute__((section(".nv_fatbin"))) = "code";'


@pytest.fixture
def site(tmp_path):
    return MadeSite(tmp_path / "site-packages")


def look(*sites: MadeSite) -> Installed:
    """Look at made sites, with an environment that says nothing."""
    return look_at_packages([path for site in sites for path in site.path], {})


# What each engine's own files say.


def test_a_torch_of_the_cpu_index_is_built_without_cuda(site):
    site.install("torch", "2.13.0+cpu", torch("2.13.0+cpu"))
    found = look(site).get("torch")
    assert found.package == "torch"
    assert found.version == "2.13.0+cpu"
    assert found.cuda is None
    assert found.is_cpu_only is True
    assert found.folder == site.folder / "torch"
    assert found.owners == (Owner("torch", "2.13.0+cpu"),)
    assert found.evidence == (
        "torch/version.py: __version__ = 2.13.0+cpu, cuda = None; "
        "torch/lib/libtorch_cuda.so is not there"
    )


@pytest.mark.parametrize(
    ("version", "text", "cuda"),
    [
        ("2.13.0", "13.0", (13, 0)),
        ("2.10.0+cu128", "12.8", (12, 8)),
        ("2.15.0", "13.2.2", (13, 2)),
    ],
)
def test_a_torch_for_cuda_says_which(site, version, text, cuda):
    site.install("torch", version, torch(version, text))
    found = look(site).get("torch")
    assert (found.version, found.cuda, found.is_cpu_only) == (version, cuda, False)
    assert f"cuda = {text}; torch/lib/libtorch_cuda.so is there" in found.evidence


@pytest.mark.parametrize(
    "line", ["cuda = None", "cuda: str | None = None", "cuda: Optional[str] = None  # none"]
)
def test_torch_may_write_its_lines_in_other_ways(site, line):
    site.install("torch", "2", {"torch/__init__.py": "", "torch/version.py": f"{line}\r\n"})
    assert look(site).get("torch").is_cpu_only is True


def test_a_torch_for_windows_has_its_library_under_another_name(site):
    files = torch("2.13.0+cu130", "13.0")
    files["torch/lib/torch_cuda.dll"] = files.pop("torch/lib/libtorch_cuda.so")
    site.install("torch", "2.13.0+cu130", files)
    found = look(site).get("torch")
    assert (found.cuda, found.is_cpu_only) == ((13, 0), False)
    assert "torch/lib/torch_cuda.dll is there" in found.evidence


def test_the_owner_of_a_package_has_its_normal_name(site):
    site.install("Torch_.Mine", "2.13.0+cpu", torch("2.13.0+cpu"))
    assert look(site).get("torch").owners == (Owner("torch-mine", "2.13.0+cpu"),)


def test_a_torch_for_rocm_is_none_for_cuda(site):
    site.install("torch", "2.13.0+rocm7.0", torch("2.13.0+rocm7.0", hip="7.0.1"))
    found = look(site).get("torch")
    assert (found.cuda, found.is_cpu_only) == (None, True)
    assert "hip = 7.0.1, a build for ROCm" in found.evidence


def test_a_torch_made_of_two_wheels_is_not_told(site):
    site.install("torch", "2.13.0", torch("2.13.0", "13.0"))
    site.install("torch", "2.13.0+cpu", torch("2.13.0+cpu"))
    found = look(site).get("torch")
    assert found.is_cpu_only is None
    assert "cuda = None; torch/lib/libtorch_cuda.so is there" in found.evidence
    assert len(found.owners) == 2


def test_a_torch_for_cuda_that_lost_its_library_says_so(site):
    site.install("torch", "2.13.0", torch("2.13.0", "13.0"))
    (site.folder / "torch/lib/libtorch_cuda.so").unlink()
    found = look(site).get("torch")
    assert (found.cuda, found.is_cpu_only) == ((13, 0), False)
    assert found.evidence.endswith("cuda = 13.0; torch/lib/libtorch_cuda.so is not there")


def test_an_onnxruntime_for_the_cpu_is_built_without_cuda(site):
    site.install("onnxruntime", "1.32.0", onnxruntime(ORT_CPU))
    found = look(site).get("onnxruntime")
    assert (found.version, found.cuda, found.is_cpu_only) == ("1.32.0", None, True)
    assert found.evidence == f"{ORT_INFO}: package_name = onnxruntime, no cuda_version"


def test_an_onnxruntime_for_cuda_says_which(site):
    site.install("onnxruntime-gpu", "1.31.1", onnxruntime(ORT_GPU))
    found = look(site).get("onnxruntime")
    assert (found.version, found.cuda, found.is_cpu_only) == ("1.31.1", (13, 0), False)
    assert found.owners == (Owner("onnxruntime-gpu", "1.31.1"),)
    assert found.evidence == f"{ORT_INFO}: package_name = onnxruntime-gpu, cuda_version = 13.0"


@pytest.mark.parametrize("name", ["onnxruntime-directml", "onnxruntime-openvino"])
def test_an_onnxruntime_for_something_else_is_none_for_cuda(site, name):
    info = f"package_name = '{name}'\n__version__ = '1.24.1'\n"
    site.install(name, "1.24.1", onnxruntime(info))
    found = look(site).get("onnxruntime")
    assert (found.cuda, found.is_cpu_only) == (None, True)
    assert found.owners == (Owner(name, "1.24.1"),)


def test_an_onnxruntime_that_is_called_gpu_and_names_no_cuda_is_not_told(site):
    site.install(
        "onnxruntime-gpu", "1.23.0", onnxruntime(ORT_GPU.replace("cuda_version", "other_version"))
    )
    assert look(site).get("onnxruntime").is_cpu_only is None


# Two wheels with one import package.


def test_of_two_onnxruntimes_the_one_written_last_counts(site):
    site.install("onnxruntime-gpu", "1.31.1", onnxruntime(ORT_GPU))
    site.install("onnxruntime", "1.32.0", onnxruntime(ORT_CPU))
    found = look(site).get("onnxruntime")
    assert (found.version, found.cuda, found.is_cpu_only) == ("1.32.0", None, True)
    assert found.owners == (Owner("onnxruntime", "1.32.0"), Owner("onnxruntime-gpu", "1.31.1"))
    assert (site.folder / ORT_CUDA).exists()  # which proves nothing

    site.install("onnxruntime-gpu", "1.31.1", onnxruntime(ORT_GPU))
    found = look(site).get("onnxruntime")
    assert (found.version, found.is_cpu_only) == ("1.31.1", False)
    assert len(found.owners) == 2


def test_pip_installs_both_and_the_last_one_counts(tmp_path):
    gpu = wheel(tmp_path, "onnxruntime-gpu", "1.31.1", onnxruntime(ORT_GPU))
    cpu = wheel(tmp_path, "onnxruntime", "1.32.0", onnxruntime(ORT_CPU))
    environ = {name: value for name, value in os.environ.items() if name[:4] != "PIP_"}
    options = ["--no-deps", "--no-index", "--no-compile", "--ignore-installed", "--quiet"]
    for one in (gpu, cpu):
        command = [sys.executable, "-m", "pip", "install", *options, "--prefix", tmp_path / "env"]
        done = subprocess.run(
            [*command, one],
            env={**environ, "PIP_CONFIG_FILE": os.devnull, "PIP_DISABLE_PIP_VERSION_CHECK": "1"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
    (init,) = (tmp_path / "env").rglob("onnxruntime/__init__.py")
    found = look_at_packages([str(init.parents[1])], {}).get("onnxruntime")
    assert (found.version, found.is_cpu_only) == ("1.32.0", True)
    assert [str(owner) for owner in found.owners] == [
        "onnxruntime 1.32.0",
        "onnxruntime-gpu 1.31.1",
    ]


def test_what_an_uninstalled_wheel_leaves_of_the_other_is_an_empty_package(site):
    site.install("onnxruntime-gpu", "1.31.1", onnxruntime(ORT_GPU))
    site.install("onnxruntime", "1.32.0", onnxruntime(ORT_CPU))
    site.uninstall("onnxruntime")
    assert (site.folder / ORT_CUDA).exists()
    found = look(site).get("onnxruntime")
    assert found.folder is None
    assert (found.version, found.cuda, found.is_cpu_only) == (None, None, None)
    assert found.owners == (Owner("onnxruntime-gpu", "1.31.1"),)
    assert found.evidence == (
        "onnxruntime/__init__.py is not there, while onnxruntime-gpu 1.31.1 counts as installed"
    )


def test_a_package_of_which_nothing_is_left_still_counts_as_installed(site):
    site.install("torch", "2.13.0", {})
    site.write("torch-2.13.0.dist-info/RECORD", "torch/__init__.py,,\n")
    found = look(site).get("torch")
    assert found.folder is None
    assert found.owners == (Owner("torch", "2.13.0"),)


def test_files_that_nobody_owns_make_an_empty_package(site):
    site.install("numpy", "2.4.6", {"numpy/__init__.py": ""})
    site.write("onnxruntime/capi/training/left.txt", "")
    found = look(site).get("onnxruntime")
    assert (found.folder, found.owners) == (None, ())
    assert found.evidence == (
        "onnxruntime/__init__.py is not there, while no distribution owns what is left"
    )


def test_somebodys_folder_of_that_name_is_no_package(site):
    site.write("torch/notes.txt", "")
    assert look(site).wheels == ()


def test_a_plugin_of_onnxruntime_does_not_own_it(site):
    site.install("onnxruntime", "1.32.0", onnxruntime(ORT_CPU))
    site.install("onnxruntime-genai", "0.9.0", {"onnxruntime_genai/__init__.py": ""})
    site.install("onnxruntime-ep-cuda13", "0.4.0", {"onnxruntime/plugins/cuda.py": ""})
    assert look(site).get("onnxruntime").owners == (Owner("onnxruntime", "1.32.0"),)


def test_a_wheel_of_any_name_that_has_files_in_the_package_owns_it(site):
    site.install("ort-nightly", "1.33.0", onnxruntime(ORT_CPU))
    (site.folder / "ort_nightly-1.33.0.dist-info/top_level.txt").unlink()
    site.install("my.runtime", "1", onnxruntime(ORT_GPU))  # a fork, by what it says it brings
    owners = look(site).get("onnxruntime").owners
    assert owners == (Owner("my-runtime", "1"), Owner("ort-nightly", "1.33.0"))


def test_the_first_folder_of_the_path_counts(tmp_path):
    one, other = MadeSite(tmp_path / "one"), MadeSite(tmp_path / "other")
    one.install("onnxruntime", "1.32.0", onnxruntime(ORT_CPU))
    other.install("onnxruntime-gpu", "1.31.1", onnxruntime(ORT_GPU))
    assert look(one, other).get("onnxruntime").owners == (Owner("onnxruntime", "1.32.0"),)
    found = look(other, one).get("onnxruntime")
    assert (found.is_cpu_only, found.owners) == (False, (Owner("onnxruntime-gpu", "1.31.1"),))


def test_a_whole_package_counts_before_the_remains_of_one(tmp_path):
    one, other = MadeSite(tmp_path / "one"), MadeSite(tmp_path / "other")
    one.install("onnxruntime-gpu", "1.31.1", {ORT_CUDA: ""})
    other.install("onnxruntime", "1.32.0", onnxruntime(ORT_CPU))
    assert look(one, other).get("onnxruntime").folder == other.folder / "onnxruntime"
    assert look(one).get("onnxruntime").folder is None


# Engines that are told by their libraries.


def test_a_ctranslate2_with_the_name_of_cublas_in_it_is_built_for_that_cuda(site, tmp_path):
    source = f'{GPU_CODE} const char* name(void) {{ return "libcublas.so.12"; }}'
    library = compile_library(tmp_path, "libctranslate2.so.4", source)
    site.install(
        "ctranslate2",
        "4.8.5",
        {
            "ctranslate2/__init__.py": "",
            "ctranslate2/version.py": '"""Version."""\n\n__version__ = "4.8.5"\n',
            "ctranslate2.libs/libctranslate2-a7a60d30.so.4.8.5": library.read_bytes(),
        },
    )
    found = look(site).get("ctranslate2")
    assert (found.version, found.cuda, found.is_cpu_only) == ("4.8.5", (12, 0), False)
    assert found.evidence == (
        "ctranslate2.libs/libctranslate2-a7a60d30.so.4.8.5: names libcublas.so.12, "
        "has code for GPUs"
    )


def test_a_ctranslate2_without_is_not(site, tmp_path):
    library = compile_library(tmp_path, "libctranslate2.so.4", "int nothing(void) { return 0; }")
    site.write("ctranslate2/__init__.py", "")
    site.write("ctranslate2.libs/libctranslate2-121c464e.so.4.8.5", library.read_bytes())
    found = look(site).get("ctranslate2")
    assert (found.version, found.cuda, found.is_cpu_only) == (None, None, True)
    assert found.evidence.endswith(": neither linked to CUDA nor naming cuBLAS")


@pytest.mark.parametrize(
    ("file", "content", "cuda", "is_cpu_only", "says"),
    [
        ("ctranslate2.dll", b"MZ..cublas64_12.dll\0..", (12, 0), False, "names cublas64_12.dll"),
        ("ctranslate2.dll", b"MZ......", None, True, "neither linked to CUDA"),
        (
            ".dylibs/libctranslate2.4.8.5.dylib",
            bytes.fromhex("cffaedfe") + b"...",
            None,
            True,
            "a library for macOS",
        ),
    ],
)
def test_a_ctranslate2_for_another_system_is_told_too(site, file, content, cuda, is_cpu_only, says):
    site.write("ctranslate2/__init__.py", "")
    site.write(f"ctranslate2/{file}", content)
    found = look(site).get("ctranslate2")
    assert (found.cuda, found.is_cpu_only) == (cuda, is_cpu_only)
    assert says in found.evidence


@pytest.mark.parametrize(
    ("needed", "source", "cuda", "is_cpu_only", "says"),
    [
        (
            ["libcuda.so.1", "libcublas-8b4c9d2e.so.12.4.5.8", "libcudart-1f2e3d4c.so.12.4.127"],
            GPU_CODE,
            (12, 0),
            False,
            "linked to libcuda.so.1, linked to libcublas-8b4c9d2e.so.12.4.5.8",
        ),
        (["libcuda.so.1", "libcublas.so.13"], PLAIN, (13, 0), False, "libcublas.so.13"),
        (["libcuda.so.1"], PLAIN, None, False, "linked to libcuda.so.1"),
        ([], GPU_CODE, None, False, "has code for GPUs"),
        (
            ["libamdhip64.so.6"],
            PLAIN,
            None,
            True,
            "linked to libamdhip64.so.6, a build for ROCm",
        ),
        (["libvulkan.so.1"], PLAIN, None, True, "neither linked to CUDA"),
        ([], PLAIN, None, True, "neither linked to CUDA"),
    ],
)
def test_a_llama_cpp_is_told_by_what_it_is_linked_to(
    site, tmp_path, needed, source, cuda, is_cpu_only, says
):
    others = [compile_library(tmp_path, name, "int nothing;") for name in needed]
    library = compile_library(
        tmp_path, "xllamacpp.abi3.so", source, "-Wl,--no-as-needed", *map(str, others)
    )
    site.install(
        "xllamacpp",
        "2026.10.11549",
        {
            "xllamacpp/__init__.py": "",
            "xllamacpp/_version.py": "json = '''\n{\n \"version\": \"2026.10.11549\"\n}\n'''\n",
            "xllamacpp/xllamacpp.abi3.so": library.read_bytes(),
        },
    )
    found = look(site).get("llama.cpp")
    assert (found.package, found.version) == ("xllamacpp", "2026.10.11549")
    assert (found.cuda, found.is_cpu_only) == (cuda, is_cpu_only)
    assert found.evidence.startswith("xllamacpp/xllamacpp.abi3.so: ")
    assert says in found.evidence


# NVIDIA's wheels.


def test_nvidias_wheels_and_their_libraries_are_listed(site):
    site.install(
        "nvidia-cublas-cu12",
        "12.9.3.13",
        {
            "nvidia/cublas/lib/libcublas.so.12": "",
            "nvidia/cublas/lib/libcublasLt.so.12": "",
            "nvidia/cublas/include/cublas.h": "",
        },
    )
    site.install("nvidia-cublas", "13.10.0.20", {"nvidia/cu13/lib/libcublas.so.13": ""})
    site.install("nvidia-cudnn-cu13", "9.28.1.4", {"nvidia/cudnn/lib/libcudnn.so.9": ""})
    site.install("nvidia-cuda-runtime", "13.5.37", {"nvidia/cu13/bin/x86_64/cudart64_13.dll": ""})
    site.install("nvidia-curand-cu12", "10.3", {"nvidia/curand/bin/curand64_10.dll": ""})
    (site.folder / "nvidia/cufft/lib").mkdir(parents=True)
    (site.folder / "nvidia/cufft/lib/libcufft.so.11").symlink_to("libcufft.so.11.4.1")  # left over
    found = look(site)
    assert [str(one) for one in found.libraries] == [
        "nvidia-cublas 13.10.0.20",
        "nvidia-cublas-cu12 12.9.3.13",
        "nvidia-cuda-runtime 13.5.37",
        "nvidia-cudnn-cu13 9.28.1.4",
        "nvidia-curand-cu12 10.3",
    ]
    assert [file.relative_to(site.folder).as_posix() for file in found.library_files] == [
        "nvidia/cu13/lib/libcublas.so.13",
        "nvidia/cublas/lib/libcublas.so.12",
        "nvidia/cublas/lib/libcublasLt.so.12",
        "nvidia/cudnn/lib/libcudnn.so.9",
        "nvidia/curand/bin/curand64_10.dll",
        "nvidia/cu13/bin/x86_64/cudart64_13.dll",
    ]
    assert all(file.is_absolute() for file in found.library_files)


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("nvidia/cublas/lib/libcublas.so.12", "libcublas.so.12"),
        ("nvidia/cublas/bin/cublas64_12.dll", "libcublas.so.12"),
        ("nvidia/cu13/bin/x86_64/cublasLt64_13.dll", "libcublasLt.so.13"),
    ],
)
def test_a_library_is_asked_for_by_its_name_on_linux_everywhere(site, file, name):
    path = site.write(file, "")
    found = look(site)
    assert found.find_library(name) == path
    assert found.has_library(name)
    assert found.find_library("libcublas.so.11") is None


def test_a_relative_path_gives_absolute_ones(site, monkeypatch):
    site.install("torch", "2.13.0+cpu", torch("2.13.0+cpu"))
    site.write("nvidia/cublas/lib/libcublas.so.12", "")
    monkeypatch.chdir(site.folder)
    found = look_at_packages([""], {})
    assert found.get("torch").folder == site.folder / "torch"
    assert found.library_files == (site.folder / "nvidia/cublas/lib/libcublas.so.12",)


# Files that are not what they should be.

GARBAGE = bytes(range(256)) * 64


@pytest.mark.parametrize("content", [GARBAGE, b"", b"cuda = Nope\n", b"\xff\xfecuda = None"])
@pytest.mark.parametrize(
    ("file", "engine"),
    [
        ("torch/version.py", "torch"),
        (ORT_INFO, "onnxruntime"),
        ("xllamacpp/xllamacpp.abi3.so", "llama.cpp"),
        ("ctranslate2.libs/libctranslate2.so.4", "ctranslate2"),
    ],
)
def test_garbage_tells_nothing(site, file, engine, content):
    package = "xllamacpp" if engine == "llama.cpp" else engine
    site.write(f"{package}/__init__.py", "")
    site.write(file, content)
    found = look(site).get(engine)
    assert (found.version, found.cuda, found.is_cpu_only) == (None, None, None)
    assert file in found.evidence


@pytest.mark.parametrize(
    ("engine", "package", "evidence"),
    [
        ("torch", "torch", "torch/version.py is not there or names no CUDA"),
        ("onnxruntime", "onnxruntime", f"{ORT_INFO} is not there or names no package"),
        ("ctranslate2", "ctranslate2", "its shared library is not where its wheels have it"),
        ("llama.cpp", "xllamacpp", "its shared library is not where its wheels have it"),
    ],
)
def test_files_that_are_missing_tell_nothing(site, engine, package, evidence):
    site.write(f"{package}/__init__.py", "")
    found = look(site).get(engine)
    assert (found.cuda, found.is_cpu_only, found.owners) == (None, None, ())
    assert found.evidence == evidence


def test_a_library_that_is_a_folder_cannot_be_read(site):
    site.write("xllamacpp/__init__.py", "")
    site.write("xllamacpp/xllamacpp.abi3.so/file", "")
    found = look(site).get("llama.cpp")
    assert found.is_cpu_only is None
    assert found.evidence.startswith("xllamacpp/xllamacpp.abi3.so cannot be read: ")


def test_a_distribution_without_a_list_of_files_owns_what_it_says_it_brings(site):
    site.install("onnxruntime", "1.32.0", onnxruntime(ORT_CPU))
    site.install("onnxruntime-gpu", "1.31.1", onnxruntime(ORT_CPU))
    site.install("onnxruntime-extensions", "0.14", {"onnxruntime_extensions/__init__.py": ""})
    for record in site.folder.glob("*.dist-info/RECORD"):
        record.unlink()
    (site.folder / "onnxruntime-1.32.0.dist-info/top_level.txt").unlink()  # its name says it
    owners = look(site).get("onnxruntime").owners
    assert owners == (Owner("onnxruntime", "1.32.0"), Owner("onnxruntime-gpu", "1.31.1"))


def test_a_line_of_100_megabytes_is_not_read_to_its_end(site):
    site.install("torch", "2.13.0+cpu", torch("2.13.0+cpu"))
    site.install("onnxruntime", "1.32.0", onnxruntime(ORT_CPU))
    for file in ("torch/version.py", ORT_INFO, "onnxruntime-1.32.0.dist-info/RECORD"):
        with (site.folder / file).open("r+b") as stream:
            stream.seek(100 << 20)  # a hole: nothing is written
            stream.write(b"\n")
    tracemalloc.start()
    found = look(site)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert found.get("torch").is_cpu_only is True
    assert found.get("onnxruntime").owners == (Owner("onnxruntime", "1.32.0"),)
    assert peak < 40 << 20


@pytest.mark.parametrize(
    "name",
    ["~nnxruntime-1.32.0.dist-info", "onnxruntime.dist-info", "-1.dist-info", "x.dist-info-1"],
)
def test_the_remains_of_an_installation_that_failed_count_for_nothing(site, name):
    site.write(f"{name}/RECORD", "onnxruntime/capi/__init__.py,,\n")
    site.write(f"{name}/top_level.txt", "onnxruntime\n")
    assert look(site).wheels == ()


def test_paths_that_are_no_folders_are_passed_over(site, tmp_path):
    site.install("torch", "2.13.0+cpu", torch("2.13.0+cpu"))
    archive = tmp_path / "python311.zip"
    archive.write_bytes(b"PK")
    path = [str(archive), str(tmp_path / "missing"), "\0", *site.path, *site.path]
    assert [found.engine for found in look_at_packages(path, {}).wheels] == ["torch"]


def test_nothing_installed_is_nothing_found(site):
    found = look(site)
    assert (found.wheels, found.libraries, found.library_files) == ((), (), ())
    assert found.get("torch") is None


# The environment of these tests.


def test_the_engines_of_this_environment_are_told():
    installed = look_at_packages()
    onnxruntime = installed.get("onnxruntime")
    assert onnxruntime.version == importlib.metadata.version("onnxruntime")
    assert (onnxruntime.cuda, onnxruntime.is_cpu_only) == (None, True)
    assert onnxruntime.owners == (Owner("onnxruntime", onnxruntime.version),)
    ctranslate2 = installed.get("ctranslate2")
    assert ctranslate2.version == importlib.metadata.version("ctranslate2")
    if sysconfig.get_platform() in {"linux-x86_64", "win-amd64"}:
        assert (ctranslate2.cuda, ctranslate2.is_cpu_only) == ((12, 0), False)
    else:
        assert (ctranslate2.cuda, ctranslate2.is_cpu_only) == (None, True)
    llama_cpp = installed.get("llama.cpp")
    assert llama_cpp.version == importlib.metadata.version("xllamacpp")
    assert (llama_cpp.cuda, llama_cpp.is_cpu_only) == (None, True)
    assert {wheel.folder.parent for wheel in installed.wheels} == {
        Path(sysconfig.get_path("platlib"))
    }


def test_looking_imports_no_engine_and_starts_nothing():
    code = """
import sys

REFUSED = ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.fork",
           "ctypes.dlopen", "socket.connect")

def refuse(event, args):
    if event in REFUSED:
        raise AssertionError(event)

sys.addaudithook(refuse)
from evakit.devices.packages import look_at_packages
assert look_at_packages().wheels
engines = {"torch", "onnxruntime", "ctranslate2", "xllamacpp", "importlib.metadata"}
assert not engines & set(sys.modules), engines & set(sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_made_wheels_look_like_real_ones(tmp_path):
    """The tests above are worth what their files are worth."""
    site = MadeSite(tmp_path / "site")
    site.install("onnxruntime", "1.32.0", onnxruntime(ORT_CPU))
    (made,) = importlib.metadata.distributions(path=site.path)
    real = importlib.metadata.distribution("onnxruntime")
    assert (made.name, made.version) == ("onnxruntime", "1.32.0")
    assert {str(file) for file in made.files if "dist-info" not in str(file)} <= {
        str(file) for file in real.files
    }
    assert made.read_text("top_level.txt") == real.read_text("top_level.txt")
    info = Path(real.locate_file(made_site.ORT_INFO)).read_text()
    assert info.replace(real.version, "1.32.0") == ORT_CPU
