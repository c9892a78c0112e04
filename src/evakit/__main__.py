"""`python -m evakit` is the `evakit` command."""

from .cli import main

main()
