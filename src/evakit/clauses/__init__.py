"""Token text of a reply in, speakable clauses out: ClauseSplitter and split_clauses.

Three steps: `_reader`, `_blocks` and `_markup` take off what is written but not said;
`_sentences` knows where sentences end (sentence-stream's rules, and the abbreviations of two
languages); `_splitter` cuts. Pure: characters are taken one at a time, so that the borders of
the tokens leave no trace.
What may not live here: I/O, models, clocks, and turning numbers or signs into words.
"""

from __future__ import annotations

from ._splitter import Clause, ClauseSplitter, split_clauses

__all__ = ["Clause", "ClauseSplitter", "split_clauses"]
