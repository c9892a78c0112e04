"""Model files: declared by plugins, found, fetched, verified by SHA-256, kept in one place.

`model.py` holds the declarations; `store.py` what is on disk, with `folders.py` and
`manifest.py`; `integrity.py` whether a file is the declared one; `sources.py` where files come
from, with `hub.py`, `index.py` and `wheels.py`; `download.py`, `network.py` and `connection.py`
how bytes get here; `progress.py` how far they are. What may not live here: importing an engine,
or the list of models (plugins declare theirs).
"""

from .model import HubListing, HubSource, Model, ModelFile, WheelSource
from .progress import Progress
from .store import ModelStore

__all__ = [
    "HubListing",
    "HubSource",
    "Model",
    "ModelFile",
    "ModelStore",
    "Progress",
    "WheelSource",
]
