"""Model files: declared by plugins, found, fetched, verified by SHA-256, kept in one place.

`model.py` holds the declarations, `store.py` what is on disk, `sources.py` where files come
from, `download.py` how bytes get here. What may not live here: importing an engine, or the
list of models (plugins declare theirs).
"""

from .model import HubListing, HubSource, Model, ModelFile, WheelSource
from .store import ModelStore, Progress

__all__ = [
    "HubListing",
    "HubSource",
    "Model",
    "ModelFile",
    "ModelStore",
    "Progress",
    "WheelSource",
]
