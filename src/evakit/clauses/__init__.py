"""Token text of a reply in, speakable units out: ClauseSplitter and split_clauses.

Three steps, each its own module: `_markup` takes off what is written but not said, `_sentences`
knows where sentences end (on sentence-stream, and two languages' abbreviations), `_splitter`
cuts. Pure: characters are taken one at a time, so the tokens' borders leave no trace.
What may not live here: I/O, models, clocks, and turning numbers or signs into words.
"""

from __future__ import annotations

from ._splitter import Clause, ClauseSplitter, split_clauses

__all__ = ["Clause", "ClauseSplitter", "split_clauses"]
