"""Get recorded speech with its texts: three Debian packages, unpacked into the cache folder.

Nothing is installed and no root is needed: apt-get downloads, dpkg-deb unpacks. Prints the
folder. What is there already is not fetched again.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

import platformdirs

PACKAGES: Final = (
    "pocketsphinx-testdata",  # BSD-2-Clause: read English, with what is said
    "asterisk-core-sounds-fr-wav",  # CC-BY-SA-3.0: telephone prompts in French, 8 kHz
    "asterisk-core-sounds-fr",  # their texts
)


class FetchError(Exception):
    """One sentence for whoever runs the tests."""


def fetch() -> Path:
    """Return the folder with one unpacked package a folder.

    Raises:
        FetchError: this is no Debian or Ubuntu, or the packages cannot be downloaded.

    """
    named = os.environ.get("EVAKIT_HOME")
    home = Path(named).expanduser() if named else platformdirs.user_cache_path("evakit")
    folder = home / "speech"
    missing = [package for package in PACKAGES if not (folder / package).is_dir()]
    if missing:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder, prefix=".fetch-") as scratch:
            _fetch(missing, folder, Path(scratch))
    return folder


def _fetch(packages: list[str], folder: Path, scratch: Path) -> None:
    for tool in ("apt-get", "dpkg-deb"):
        if shutil.which(tool) is None:
            raise FetchError(
                f"The speech tests take their recordings from Debian packages, and {tool} is not "
                f"here; on another system unpack {', '.join(packages)} into {folder}, a folder "
                "each, or leave these tests out."
            )
    if _apt(["download", *packages], scratch):
        # The lists of packages are absent or old: get some of our own, which needs no root.
        lists = scratch / "lists"
        (lists / "partial").mkdir(parents=True)
        own = ["-o", f"Dir::State::Lists={lists}", "-o", f"Dir::Cache={scratch / 'cache'}"]
        (scratch / "cache" / "archives" / "partial").mkdir(parents=True)
        problem = _apt([*own, "update"], scratch) or _apt([*own, "download", *packages], scratch)
        if problem:
            raise FetchError(
                f"apt-get cannot download {', '.join(packages)} ({problem}); check the network "
                "and the package sources of this machine."
            )
    for package in packages:
        (archive,) = scratch.glob(f"{package}_*.deb")
        subprocess.run(["dpkg-deb", "-x", archive, scratch / package], check=True)
        (scratch / package).rename(folder / package)


def _apt(arguments: list[str], folder: Path) -> str | None:
    """Run apt-get in `folder`; return why it failed, None when it did not."""
    # As root, apt would download as the user `_apt`, who cannot write here.
    command = ["apt-get", "-q", "-o", "APT::Sandbox::User=root", *arguments]
    environment = {**os.environ, "LC_ALL": "C.UTF-8"}
    result = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    if result.returncode == 0:
        return None
    lines = [line for line in result.stderr.splitlines() if line.startswith("E:")]
    return " ".join(lines) or f"exit status {result.returncode}"


if __name__ == "__main__":
    try:
        print(fetch())  # noqa: T201 (the result of this script)
    except FetchError as error:
        sys.exit(str(error))
