"""Makes a virtual environment with nothing but a Python: what `make` runs first.

`python bootstrap.py` makes `.venv`, `python bootstrap.py .venv-torch` another one beside it.

What may not live here: installing evakit; the Makefile does that with the environment's pip.
"""

import importlib.util
import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

HERE = Path(__file__).resolve().parent


def main(name: str = ".venv") -> None:
    """Make the environment, with the standard library's venv or, where that is cut out, virtualenv.

    Args:
        name: What its folder beside this file is called.

    """
    target = HERE / name
    if sys.version_info < (3, 11):
        sys.exit(
            f"evakit needs Python 3.11 or newer and this is {sys.version.split()[0]}; "
            "install one, or name it: make demo PYTHON=python3.13"
        )
    if importlib.util.find_spec("ensurepip"):
        venv.EnvBuilder(with_pip=True, clear=True).create(target)
    elif importlib.util.find_spec("pip"):
        # Debian and its kin ship Python without ensurepip; a folder of its own is no
        # installation into the system, so an externally managed Python allows it.
        tool = HERE / f"{name}-tool"
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--target", str(tool)]
        subprocess.run([*pip, "virtualenv"], check=True)
        subprocess.run(
            [sys.executable, "-m", "virtualenv", "--clear", "--quiet", str(target)],
            check=True,
            env={**os.environ, "PYTHONPATH": str(tool)},
        )
        shutil.rmtree(tool)
    else:
        sys.exit(
            "This Python has neither ensurepip nor pip, so no environment can be made; install "
            "your system's package for it (on Debian and Ubuntu: python3-venv)."
        )


if __name__ == "__main__":
    main(*sys.argv[1:2])
