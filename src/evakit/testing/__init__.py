"""What evakit is tested with, shipped for the tests of programs and plugins that use it.

`fakes` are scripted backends, `strategies` Hypothesis strategies for the values, `conformance`
the suites that every backend has to pass. This module itself imports neither pytest nor
hypothesis; what may not live here: anything that a program needs to run.
"""

from __future__ import annotations

__all__: list[str] = []
