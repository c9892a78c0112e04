"""Clauses: what is spoken of a reply and where it is cut, whatever the tokens were."""

from __future__ import annotations

import time
from itertools import pairwise

import pytest
import regex
from hypothesis import example, given
from hypothesis import strategies as st

from evakit.clauses import Clause, ClauseSplitter, split_clauses

# ruff: noqa: RUF001, E501, SIM905  (typographic signs are what this is about; a row of a table
# is read as one line, and words as a sentence)

SHORTEST, LONGEST = 12, 300


def texts(reply, language=None):
    clauses = split_clauses(reply, language)
    assert "".join(clause.written for clause in clauses) == reply
    return [clause.text for clause in clauses]


def in_pieces(pieces, language=None):
    splitter = ClauseSplitter(language)
    clauses = [clause for piece in pieces for clause in splitter.feed(piece)]
    return clauses + splitter.finish()


def table(**cases):
    """Parametrize a test with replies, each with the texts of its clauses."""
    rows = [(name, *case) for name, group in cases.items() for case in group]
    return pytest.mark.parametrize(
        ("reply", "expected"),
        [row[1:] for row in rows],
        ids=[f"{name}: {reply[:30]!r}" for name, reply, _ in rows],
    )


@table(
    sentences=[
        (
            "The first sentence. The second one! And a third?",
            ["The first sentence.", "The second one!", "And a third?"],
        ),
        ("What?! You cannot mean that. I do.", ["What?! You cannot mean that.", "I do."]),
        ("It ends here. it goes on there.", ["It ends here. it goes on there."]),
        ("We left early. 3 days later we came back.", ["We left early.", "3 days later we came back."]),
        ("First paragraph\n\nsecond paragraph", ["First paragraph", "second paragraph"]),
        ("  Hello \t there,\u00a0you.  \n", ["Hello there, you."]),
    ],
    short=[
        ("Yes.", ["Yes."]),
        ("Yes. No.", ["Yes. No."]),
        ("Yes. I can help with that. No.", ["Yes. I can help with that.", "No."]),
        ("No. No. No. No. No.", ["No. No. No. No.", "No."]),
        ("Yes.\n\nI can.", ["Yes.", "I can."]),
    ],
    first=[
        (
            "There are three reasons for this: cost, time, and will. That is all, I think, my friend.",
            [
                "There are three reasons for this:",
                "cost, time, and will.",
                "That is all, I think, my friend.",
            ],
        ),
        (
            "I think that this is a good idea — at least for now.",
            ["I think that this is a good idea,", "at least for now."],
        ),
        (
            "I think that this is a good idea—at least for now.",
            ["I think that this is a good idea,", "at least for now."],
        ),
        (
            "I think that this is a good idea - at least for now.",
            ["I think that this is a good idea,", "at least for now."],
        ),
        ("Well, yes; of course: it is.", ["Well, yes; of course: it is."]),
        ("The result of the subtraction 10 - 3 is 7.", ["The result of the subtraction 10 - 3 is 7."]),
        ('He opened the door and said, "Come in."', ["He opened the door and said,", '"Come in."']),
    ],
    abbreviations=[
        (
            "Dr. Smith met Mr. Jones and Prof. X. at St. Mary's. They talked.",
            ["Dr. Smith met Mr. Jones and Prof. X. at St. Mary's.", "They talked."],
        ),
        (
            "Use a list, e.g. Fig. 3, i.e. Figure three. Done with it.",
            ["Use a list, e.g. Fig. 3, i.e. Figure three.", "Done with it."],
        ),
        (
            "He lives in the U.S.A. with his wife. It was 5 p.m. The train left at 14:30. Good.",
            [
                "He lives in the U.S.A. with his wife.",
                "It was 5 p.m.",
                "The train left at 14:30.",
                "Good.",
            ],
        ),
        ("See p. 12 and pp. 3-5, vol. 2, No. 5. Then stop.", ["See p. 12 and pp. 3-5, vol. 2,", "No. 5. Then stop."]),
        ("J. R. R. Tolkien wrote this book. I read it.", ["J. R. R. Tolkien wrote this book.", "I read it."]),
        ("Apples, pears, etc. Then we went home.", ["Apples, pears, etc.", "Then we went home."]),
        ("It runs on the GPU. The rest does not.", ["It runs on the GPU.", "The rest does not."]),
        ("That is you and I. The rest is silence.", ["That is you and I.", "The rest is silence."]),
        ("The answer was no. Nobody came to see.", ["The answer was no.", "Nobody came to see."]),
    ],
    numbers=[
        ("Version v2.3.1 costs $1,234.50. Next one.", ["Version v2.3.1 costs $1,234.50.", "Next one."]),
        ("It was in the year 1990. 2 years later, he left.", ["It was in the year 1990.", "2 years later, he left."]),
        ("1. First\n2. Second\n3) Third", ["1. First", "2. Second", "3. Third"]),
        (
            "Do three things: 1. Eat something. 2. Sleep well. 3. Run far.",
            ["Do three things: 1. Eat something.", "2. Sleep well.", "3. Run far."],
        ),
        ("The 2 * 3 of 2*3 is 6.", ["The 2 * 3 of 2*3 is 6."]),
    ],
    quotes=[
        ('"Stop it now!" he said. "Why should I?" she asked.', ['"Stop it now!" he said.', '"Why should I?" she asked.']),
        ('She said "I do not know." Then she left.', ['She said "I do not know."', "Then she left."]),
        ("“Is it far?” It is not. (He stayed here.) ‘Good.’", ["“Is it far?”", "It is not. (He stayed here.)", "‘Good.’"]),
    ],
    ellipses=[
        ("Well... maybe it is. Well... Maybe not, no.", ["Well... maybe it is.", "Well... Maybe not, no."]),
        ("Well… maybe it is. I am not sure… But who is?", ["Well… maybe it is.", "I am not sure…", "But who is?"]),
    ],
    addresses=[
        (
            "See https://example.org/a,b?c=d. It is at http://localhost:8080/x_y_z (or www.example.com/A.B)!",
            ["See example.org.", "It is at localhost (or example.com)!"],
        ),
        ("Read https://en.wikipedia.org/wiki/Foo_(bar), please.", ["Read en.wikipedia.org, please."]),
        ("Write to jean_marie.dupont@example.org today.", ["Write to jean_marie.dupont@example.org today."]),
        ("Go to <https://example.org/x> or <me@example.org>.", ["Go to example.org or me@example.org."]),
        ("The path is C:\\temp here.", ["The path is C:\\temp here."]),
    ],
)  # fmt: skip
def test_english_is_cut_where_a_reader_would_pause(reply, expected):
    assert texts(reply) == expected
    assert texts(reply, "en-GB") == expected


@table(
    abbreviations=[
        (
            "M. Dupont et Mme Durand habitent av. Victor-Hugo. Ils sont là.",
            ["M. Dupont et Mme Durand habitent av. Victor-Hugo.", "Ils sont là."],
        ),
        (
            "Selon lui, c.-à-d. Paul, cf. La Rochelle, p. ex. Lyon, etc. Voilà.",
            ["Selon lui, c.-à-d. Paul, cf. La Rochelle,", "p. ex. Lyon, etc.", "Voilà."],
        ),
        ("Voir p. 12, art. 5 et chap. 3. Le reste suit.", ["Voir p. 12, art. 5 et chap. 3.", "Le reste suit."]),
        ("MM. Durand et Dr. Me. Petit. Ils attendent.", ["MM. Durand et Dr. Me. Petit.", "Ils attendent."]),
    ],
    numbers=[
        (
            "C'est à 3,5 km et coûte 1\u202f234,50 €. Il est 14 h 30. À 14:30 il part.",
            ["C'est à 3,5 km et coûte 1 234,50 €.", "Il est 14 h 30.", "À 14:30 il part."],
        ),
        ("Le 14 juil. 1789 est une date. En voici 1 234,50 autres.", ["Le 14 juil. 1789 est une date.", "En voici 1 234,50 autres."]),
    ],
    punctuation=[
        (
            "Bonjour à vous ! Comment ça va ? Très bien ; merci : et vous ?",
            ["Bonjour à vous !", "Comment ça va ?", "Très bien ; merci : et vous ?"],
        ),
        (
            "Il a dit : «\u00a0Bonjour\u202f!\u00a0» Puis il est parti.",
            ["Il a dit : « Bonjour ! »", "Puis il est parti."],
        ),
        (
            "« C'est bien », dit-il. « Vraiment ? » demanda-t-elle. « Oui, vraiment. » Il rit.",
            ["« C'est bien », dit-il.", "« Vraiment ? » demanda-t-elle.", "« Oui, vraiment. »", "Il rit."],
        ),
        ("— Bonjour, dit-il.\n— Salut !", ["Bonjour, dit-il.", "Salut !"]),
        ("À bientôt, Émile. Être ou ne pas être. Œuvre.", ["À bientôt, Émile.", "Être ou ne pas être.", "Œuvre."]),
    ],
)  # fmt: skip
def test_french_is_cut_where_a_reader_would_pause(reply, expected):
    assert texts(reply) == expected
    assert texts(reply, "fr") == expected


@table(
    inline=[
        ("**Bold**, *italic*, ***both***, __strong__, _soft_, ~~gone~~.", ["Bold, italic, both, strong,", "soft, gone."]),
        ("Is **this it?** Yes. **It is.** Good.", ["Is this it? Yes.", "It is. Good."]),
        ("Call `os.path` and ``a`b`` and snake_case.", ["Call os.path and ab and snake_case."]),
        ('Read [the docs](https://a.org/x_(y) "t") and [this][1].', ["Read the docs and this1."]),
        ("A note[^1] and array[0] and [sic].", ["A note and array 0 and sic."]),
        ("Look: ![a cat](cat.png) sleeps.", ["Look: a cat sleeps."]),
        ("It is \\*not\\* bold.", ["It is *not* bold."]),
        ('A <b class="x">bold</b> tag, x < y, 3<4, I <3 you.', ["A bold tag, x < y, 3<4, I <3 you."]),
        ("AT&amp;T &eacute;t&#233; fish&chips", ["AT&T été fish&chips"]),
    ],
    blocks=[
        ("# The plan\n## Step one ##\nText of it.", ["The plan", "Step one", "Text of it."]),
        ("A title\n=====\nText\n\n---\n\nMore\n* * *\nEnd", ["A title", "Text", "More", "End"]),
        ("- Milk\n* Eggs, two\n+ Flour\n  and salt\n\nDone.", ["Milk", "Eggs, two", "Flour and salt", "Done."]),
        ("• One\n• Two\n✅ three\n✅ four\n1️⃣ five", ["One", "Two", "three", "four", "1 five"]),
        ("- [ ] open\n- [x] closed\n- **Bold**: text", ["open", "closed", "Bold: text"]),
        ("> Said by someone\n> else.\n\nYes.", ["Said by someone else.", "Yes."]),
        (
            "| Name | Age |\n|:-----|----:|\n| Bob | 3 |\n| **Ann** | |\n\nDone.",
            ["Name, Age", "Bob, 3", "Ann", "Done."],
        ),
        ("<p>One <i>here</i>.</p><p>Two</p>three<br>four", ["One here.", "Two", "three", "four"]),
        ("Name: Bob\nAge: 3", ["Name: Bob", "Age: 3"]),
        (
            "This line of a text was wrapped because it is long, so\nParis begins the next.",
            ["This line of a text was wrapped because it is long,", "so Paris begins the next."],
        ),
    ],
    pictures=[
        ("Great 😊! Let's go 👩‍👩‍👧‍👦 to 🇫🇷 now 👍🏽.", ["Great! Let's go to now."]),
        ("I ❤️ it 🏴󠁧󠁢󠁳󠁣󠁴󠁿 a lot ☀️.", ["I it a lot."]),
        ("© 2024 by Us™, all ® kept.", ["© 2024 by Us™, all ® kept."]),
    ],
)  # fmt: skip
def test_markup_and_pictures_are_not_read_aloud(reply, expected):
    assert texts(reply) == expected


@table(
    code=[
        ("Like this:\n\n```python\nprint('A. B')\n```\n\nIt prints. Done now.", ["Like this:", "It prints. Done now."]),
        ("~~~\nx. Y\n```\n~~~\nAfter it.", ["After it."]),
        ("- item\n  ```sh\n  ls\n  ```\n- next", ["item", "next"]),
        ("```inline``` is said.", ["inline is said."]),
        ("Use ```x = 1``` there.", ["Use x = 1 there."]),
        ("Here it is: ```py\nx = 1\n``` It works.", ["Here it is:", "It works."]),
        ("Like this:\n```\nnever. Closed", ["Like this:", ""]),
        ("```\nonly code\n```\n", [""]),
    ],
    nothing=[("", []), (" \n", [""]), ("...", [""]), ("🎉", [""]), ("---\n", [""])],
    trailing=[
        ("The end. 🎉\n\n---\n", ["The end."]),
        ("Open **bold", ["Open bold"]),
        ("The end <b", ["The end <b"]),
        ("The end https", ["The end https"]),
        ("The end https://", ["The end"]),
    ],
)  # fmt: skip
def test_code_and_what_has_no_sound_is_kept_in_writing_only(reply, expected):
    assert texts(reply) == expected


def test_other_languages_are_cut_by_their_own_signs():
    assert texts("你好，我是一个机器人。今天天气很好，我们去公园散步吧！好吗？", "zh") == [
        "你好，我是一个机器人。今天天气很好，我们去公园散步吧！",
        "好吗？",
    ]
    assert texts("हिन्दी का वाक्य है। दूसरा वाक्य यहाँ है।", "hi") == [
        "हिन्दी का वाक्य है।",
        "दूसरा वाक्य यहाँ है।",
    ]
    assert texts("Это первое предложение. Это второе.") == [
        "Это первое предложение.",
        "Это второе.",
    ]
    assert texts("Heute kommt Hr. Müller zu uns.", "de") == ["Heute kommt Hr. Müller zu uns."]


def test_the_language_chooses_the_abbreviations():
    reply = "Yesterday he met his ex. She left."
    assert texts(reply, "en") == ["Yesterday he met his ex.", "She left."]
    assert texts(reply, "fr") == [reply]
    assert texts(reply, "fr_CA") == [reply]
    assert texts(reply) == [reply]


def test_joiners_stay_in_the_scripts_that_need_them():
    assert texts("می‌خواهم بروم") == ["می‌خواهم بروم"]


def test_every_emoji_is_silent():
    every = "".join(map(chr, range(0x110000)))
    emoji = regex.findall(r"\p{Emoji_Presentation}", every)
    assert len(emoji) > 1000
    assert texts("a" + "".join(emoji) + "b") == ["ab"]


def test_what_was_written_stays_with_what_is_said():
    reply = "Is **this right?**  **It surely is.** 😊 See\n\n```\ncode\n```\n\n- the [end](x)\n"
    assert split_clauses(reply) == [
        Clause("Is this right?", "Is **this right?**  "),
        Clause("It surely is.", "**It surely is.** "),
        Clause("See", "😊 See\n\n"),
        Clause("the end", "```\ncode\n```\n\n- the [end](x)\n"),
    ]


def test_a_clause_before_code_does_not_wait_for_the_code():
    splitter = ClauseSplitter()
    assert splitter.feed("Here is how:\n`") == []
    assert splitter.feed("``") == [Clause("Here is how:", "Here is how:\n")]
    assert splitter.feed("py\nx = 1") == []
    assert splitter.finish() == [Clause("", "```py\nx = 1")]


def test_a_finished_splitter_says_that_a_new_one_is_needed():
    splitter = ClauseSplitter()
    splitter.finish()
    with pytest.raises(RuntimeError, match="make a new one"):
        splitter.feed("more")
    with pytest.raises(RuntimeError, match="make a new one"):
        splitter.finish()


# What the parts of a reply look like; joined in any order they make the awkward cases.
PARTS = st.sampled_from(
    [
        "~",
        "~~",
        "\n~~~",
        *(
            "Hello~Paul~goes~and~et~M.~Dr.~e.g.~etc.~U.S.A.~p.~12~3,5~1.~2)~a.~J.~5 p.m.~v2.3.1~c.-à-d."
            "~.~. ~!~?~?!~...~…~,~, ~; ~: ~ : ~ — ~—~ - ~–~-~(~)~[~]~](~\"~'~«~»~ »~’~\u00a0~\u202f~ ~  "
            "~\n~\n\n~\r\n~\t~*~**~***~_~__~`~``~```~```py\n~\n```\n~# ~\n## ~\n- ~\n* ~\n1. ~\n> ~\n---\n"
            '~|~\n| a | b |\n~<b>~</b>~<br>~<~<a href="x~>~&amp;~&~\\~\\*~https://example.org/a,b?c=d'
            "~http~www.~h~://~me@example.org~[x](y)~![x](y)~[^1]~[ ]~👩‍👩‍👧~🇫🇷~👍🏽~❤️~1️⃣~©~。~！~你~好~，~।~हि~a\u0301~\u200d"
        ).split("~"),
    ]
)
REPLIES = st.one_of(
    st.lists(PARTS, max_size=60).map("".join),
    st.lists(PARTS, max_size=60).map(" ".join),
    st.text(max_size=80),
)
LANGUAGES = st.sampled_from([None, "en", "fr", "de"])


@given(REPLIES, st.lists(st.integers(0, 400), max_size=20), LANGUAGES)
@example("Costs 3,5 km **now**... ```x``` 👩‍👩‍👧 Ok", list(range(60)), None)
def test_however_the_reply_is_cut_into_tokens_the_clauses_are_the_same(reply, cuts, language):
    whole = split_clauses(reply, language)
    borders = [0, *sorted(min(cut, len(reply)) for cut in cuts), len(reply)]
    pieces = [reply[a:b] for a, b in pairwise(borders)]
    assert in_pieces(pieces, language) == whole
    assert in_pieces(reply, language) == whole


@given(REPLIES, LANGUAGES)
def test_the_clauses_are_the_reply_and_each_but_the_last_has_something_to_say(reply, language):
    clauses = split_clauses(reply, language)
    assert "".join(clause.written for clause in clauses) == reply
    for clause in clauses:
        assert clause.text == " ".join(clause.text.split())
        assert len(clause.text) <= LONGEST + 1
    assert all(any(c.isalnum() for c in clause.text) for clause in clauses[:-1])
    assert not clauses or not clauses[-1].text or any(c.isalnum() for c in clauses[-1].text)


MARKED = [
    "**{}**",
    "*{}*",
    "_{}_",
    "~~{}~~",
    "`{}`",
    "[{}](http://a.b/c_d)",
    "<b>{}</b>",
    "{} 😊",
    "{}",
]
STARTS = ["", "# ", "- ", "* ", "> ", "1. ", "| "]


@given(
    st.lists(
        st.tuples(
            st.sampled_from(STARTS),
            st.lists(
                st.tuples(st.sampled_from(MARKED), st.sampled_from("we Will go2 été".split()))
            ),
        )
    )
)
def test_no_marker_is_left_in_what_is_spoken(lines):
    reply = "\n".join(
        start + " ".join(mark.format(word) for mark, word in words) for start, words in lines
    )
    said = " ".join(texts(reply))
    assert not set(said) & set("*_~`[]<>#|😊-/")
    words = [word for _, words in lines for _, word in words]
    assert [word for word in said.replace(",", "").split() if word != "1."] == words


@given(st.lists(st.sampled_from(["This is one sentence", "Voici une phrase", "I agree"]), min_size=2),
       st.sampled_from([". ", "! ", "? ", " ! ", "... ", "\n\n"]))  # fmt: skip
def test_a_sentence_is_returned_at_the_first_letter_of_the_next(sentences, end):
    reply = end.join(sentences)
    splitter = ClauseSplitter()
    boundary = 0
    for sentence in sentences[:-1]:
        boundary += len(sentence + end)
        start = boundary - len(sentence + end)
        early = splitter.feed(reply[start + (start > 0) : boundary])
        assert early == []
        ready = splitter.feed(reply[boundary])
        is_short = len(sentence + end.rstrip()) < SHORTEST and end != "\n\n"
        if not is_short:
            assert [clause.text.endswith(sentence + end.rstrip()) for clause in ready] == [True]


@given(st.lists(st.sampled_from(["word", "another", "a", "and", "3,5", "naïve,", "x" * 700])))
def test_no_text_is_held_back_for_longer_than_a_long_clause(words):
    reply = " ".join(words)
    splitter = ClauseSplitter()
    waiting = 0
    for character in reply:
        waiting += 1 - sum(len(clause.written) for clause in splitter.feed(character))
        assert waiting <= LONGEST + 1


def test_a_sentence_without_end_is_cut_at_a_pause_a_conjunction_a_space_or_anywhere():
    long = "a" * 24 + " "
    assert texts(long * 9 + "bb, " + long * 9)[0] == (long * 9) + "bb,"
    assert texts(long * 9 + "and " + long * 9)[0] == (long * 9).strip()
    assert texts(long * 20)[0] == (long * 12).strip()
    assert [len(text) for text in texts("a" * 1000)] == [300, 300, 300, 100]


@pytest.mark.parametrize(
    "unit",
    ["a", "a ", "A. ", ".", "!?", "-", "*", "`", "[", "](", "<a ", "&a", "|", "\n", "\n- ", "```\n", "…", "。",
     "https://", "h", "😀", "\u200d", "1. ",  "." * 22 + "x", "Yes, it is. "],
)  # fmt: skip
def test_time_grows_with_the_length_of_a_text_and_not_with_its_square(unit):
    def seconds(length):
        reply = (unit * length)[:length]
        best = float("inf")
        for _ in range(2):
            started = time.perf_counter()
            clauses = in_pieces(reply)
            best = min(best, time.perf_counter() - started)
            assert sum(len(clause.written) for clause in clauses) == length
        return best

    assert seconds(40_000) / seconds(4_000) < 40  # ten times the text; its square is a hundred


def test_a_hundred_thousand_characters_without_punctuation_become_clauses():
    reply = "word " * 20_000
    clauses = in_pieces(reply)
    assert "".join(clause.written for clause in clauses) == reply
    assert max(len(clause.text) for clause in clauses) <= LONGEST
    assert len(clauses) < 400
