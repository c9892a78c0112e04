"""No file of the repository names a folder of the machine that it was written on."""

from __future__ import annotations

import re

import pytest

# Written in parts, so that this file does not find itself.
FOLDERS = re.compile(
    r"(?<![\w.$}\])>/-])(?:"
    + "|".join(
        [
            "/" + "home/[a-z]",
            "/" + "root/",
            "/" + "Users/[A-Za-z]",
            "/" + "work/",
            "/" + "tmp/[a-z]",
        ]
    )
    + r")|\b[A-Z]:\\+"
    + "Users"
)


def test_no_file_names_a_folder_of_this_machine(texts, root):
    wrong = [
        f"{path.relative_to(root)}: {found.group()}"
        for path, text in texts.items()
        for found in FOLDERS.finditer(text)
    ]
    assert wrong == []


@pytest.mark.parametrize(
    ("text", "is_found"),
    [
        ("open('/" + "home/joe/a.wav')", True),
        ("cd /" + "work/main", True),
        ("PATH=/" + "root/.cache", True),
        ("C:\\" + "Users\\joe", True),
        ("/" + "tmp/probe/m", True),
        ("https://example.org/" + "home/page", False),
        ("$HOME/" + "work/evakit", False),
        ("src/" + "work/x", False),
        ("/etc/passwd", False),
    ],
)
def test_such_folders_would_be_found(text, is_found):
    assert bool(FOLDERS.search(text)) is is_found
