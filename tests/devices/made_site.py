"""A folder of installed distributions, made by hand the way an installer makes one.

`site.install("onnxruntime", "1.32.0", {"onnxruntime/__init__.py": ""})` writes the files over what
is there, and their list; `site.uninstall("onnxruntime")` takes the listed ones away and nothing
else. `wheel(...)` makes a real wheel of the same, for pip.
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path

Files = Mapping[str, str | bytes]

TORCH = """from typing import Optional

__all__ = ['__version__', 'debug', 'cuda', 'git_version', 'hip', 'rocm', 'xpu']
__version__ = '{version}'
debug = False
cuda: Optional[str] = {cuda!r}
git_version = '0e1a4e0f1ff5c1a1e7f4dcd9d5e4ab8b9d1f0c6d'
hip: Optional[str] = {hip!r}
rocm: Optional[str] = {hip!r}
xpu: Optional[str] = None
"""
ORT_CPU = "package_name = 'onnxruntime'\n__version__ = '1.32.0'\n"
ORT_GPU = "package_name = 'onnxruntime-gpu'\n__version__ = '1.31.1'\ncuda_version = '13.0'\n"
ORT_INFO = "onnxruntime/capi/build_and_package_info.py"
ORT_CUDA = "onnxruntime/capi/libonnxruntime_providers_cuda.so"


def torch(version: str, cuda: str | None = None, *, hip: str | None = None) -> dict[str, str]:
    """The files that tell a build of PyTorch."""
    files = {
        "torch/__init__.py": "",
        "torch/version.py": TORCH.format(version=version, cuda=cuda, hip=hip),
    }
    if cuda:
        files["torch/lib/libtorch_cuda.so"] = "code for GPUs"
    return files


def onnxruntime(info: str) -> dict[str, str]:
    """The files that tell a build of ONNX Runtime."""
    files = {"onnxruntime/__init__.py": "", "onnxruntime/capi/__init__.py": "", ORT_INFO: info}
    if "cuda_version" in info:
        files[ORT_CUDA] = "code for GPUs"
    return files


def listed(name: str, version: str, files: Files) -> dict[str, str | bytes]:
    """The files of a distribution, with what an installer writes about them."""
    info = f"{name.replace('-', '_')}-{version}.dist-info"
    packages = sorted({file.partition("/")[0] for file in files})
    about: dict[str, str | bytes] = {
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/top_level.txt": "".join(f"{package}\n" for package in packages),
    }
    record = "".join(f"{file},,\n" for file in (*files, *about, f"{info}/RECORD"))
    return {**files, **about, f"{info}/RECORD": record}


def wheel(folder: Path, name: str, version: str, files: Files) -> Path:
    """Make a wheel that pip installs."""
    path = folder / f"{name.replace('-', '_')}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for file, content in listed(name, version, files).items():
            archive.writestr(file, content)
    return path


class MadeSite:
    """A folder like `site-packages`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True)

    @property
    def path(self) -> list[str]:
        """What to put into `sys.path`."""
        return [str(self.folder)]

    def write(self, file: str, content: str | bytes) -> Path:
        """Write one file."""
        path = self.folder / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    def install(self, name: str, version: str, files: Files) -> None:
        """Write the files over whatever is there."""
        for file, content in listed(name, version, files).items():
            self.write(file, content)

    def uninstall(self, name: str) -> None:
        """Take away the files of its list, and folders that are empty then."""
        (record,) = self.folder.glob(f"{name.replace('-', '_')}-*.dist-info/RECORD")
        for line in record.read_text().splitlines():
            path = self.folder / line.split(",")[0]
            path.unlink(missing_ok=True)
            for parent in path.parents:
                if parent == self.folder or any(parent.iterdir()):
                    break
                parent.rmdir()
