"""`evakit models`: list, fetch, verify and remove model files.

What may not live here: the store.
"""

from __future__ import annotations

import difflib

import click

from ..errors import UnknownModelError
from ..models import Model, ModelStore
from ..plugins import discover
from .console import fetch_bars, json_option, out, print_json, print_table, working

__all__ = ["models"]


def _declared() -> list[Model]:
    return [model for spec in discover() for model in spec.models]


def _find(name: str) -> Model:
    declared = _declared()
    for model in declared:
        if model.name == name:
            return model
    near = difflib.get_close_matches(name, [m.name for m in declared], n=1)
    hint = f"did you mean {near[0]!r}?" if near else "see 'evakit models list'."
    raise UnknownModelError(f"There is no model named {name!r}; {hint}", model=name)


@click.group()
def models() -> None:
    """Manage the files of models."""


@models.command("list")
@json_option
def list_(as_json: bool) -> None:
    """List the models that installed plugins name, and which are here."""
    store = ModelStore()
    rows = [(model, store.path(model)) for model in _declared()]
    if as_json:
        print_json(
            [
                {
                    "name": model.name,
                    "kind": model.kind,
                    "path": None if path is None else str(path),
                    "bytes": model.size,
                    "licence": model.licence,
                    "languages": list(model.languages),
                    "source": model.source,
                }
                for model, path in rows
            ]
        )
        return
    print_table(
        ("name", "for", "size", "licence", "languages", "here"),
        [
            (
                model.name,
                model.kind,
                "?" if model.size is None else f"{model.size / 1e6:.0f} MB",
                model.licence or "?",
                _languages(model),
                "yes" if path else "no",
            )
            for model, path in rows
        ],
    )
    out.print(f"\nThe models are in {store.home}", soft_wrap=True)


def _languages(model: Model) -> str:
    if not model.languages:
        return "any"
    many = len(model.languages) > 3  # noqa: PLR2004 (what fits a column)
    return f"{len(model.languages)} languages" if many else ", ".join(model.languages)


@models.command()
@click.argument("name", required=False)
@json_option
def fetch(name: str | None, as_json: bool) -> None:
    """Fetch the model NAME, or the starter set."""
    wanted = [_find(name)] if name else [m for m in _declared() if m.starter]
    store = ModelStore()
    with fetch_bars() as progress:
        paths = [store.ensure(model, progress=progress) for model in wanted]
    _done("is here", wanted, [str(path) for path in paths], as_json)


@models.command()
@click.argument("name", required=False)
@json_option
def verify(name: str | None, as_json: bool) -> None:
    """Check the files of the model NAME, or of all that are here, against their hashes."""
    store = ModelStore()
    wanted = [_find(name)] if name else [m for m in _declared() if store.path(m)]
    for model in wanted:
        with working(f"Checking {model.name}"):
            store.verify(model)
    _done("is as it should be", wanted, [str(store.path(m)) for m in wanted], as_json)


@models.command()
@click.argument("name")
@json_option
def remove(name: str, as_json: bool) -> None:
    """Delete the files of the model NAME."""
    model = _find(name)
    removed = ModelStore().remove(model)
    _done("was removed" if removed else "was not here", [model], [None], as_json)


def _done(what: str, models: list[Model], paths: list[str | None], as_json: bool) -> None:
    if as_json:
        print_json(
            [
                {"name": model.name, "path": path, "state": what}
                for model, path in zip(models, paths, strict=True)
            ]
        )
        return
    for model, path in zip(models, paths, strict=True):
        out.print(f"{model.name} {what}{f': {path}' if path else ''}", soft_wrap=True)
    if not models:
        out.print("No model is here; fetch the starter set with: evakit models fetch")
