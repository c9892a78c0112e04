"""How Sphinx makes web pages of these documents: `make docs`. What may not live here: text."""

from __future__ import annotations

import importlib
from typing import Any

from sphinx.util.nodes import make_refnode

import evakit

project = "evakit"
author = "The evakit authors"
release = version = evakit.__version__
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode"]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = f"evakit {release}"

default_role = "code"  # docstrings write code in single backticks
myst_heading_anchors = 3
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_default_options = {"members": True, "show-inheritance": True, "exclude-members": "__new__"}
napoleon_google_docstring = True

# Types of other projects and type variables: named in signatures, documented elsewhere.
nitpick_ignore_regex = [
    (r"py:.*", r"(?!evakit).*"),
    (r"py:.*", r"evakit\.(_|.*\._).*"),
]


def _public(app: Any, env: Any, node: Any, contnode: Any) -> Any:
    """Point `evakit.audio.Audio`, as signatures name it, to `evakit.Audio`, as readers find it."""
    del app
    target = node.get("reftarget", "")
    last = target.rpartition(".")[2]
    objects = env.get_domain("py").objects
    for home in ("evakit", "evakit.abc", "evakit.errors", "evakit.events", "evakit.devices"):
        if f"{home}.{last}" in objects and hasattr(importlib.import_module(home), last):
            found = objects[f"{home}.{last}"]
            return make_refnode(
                env.app.builder, node["refdoc"], found.docname, found.node_id, contnode, target
            )
    return None


def setup(app: Any) -> None:
    """Hook into Sphinx."""
    app.connect("missing-reference", _public)
