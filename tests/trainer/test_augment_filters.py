"""Prompts in many languages, and what is rejected of what a model writes."""

import numpy as np
import pytest

from drama_app.errors import UsageError
from drama_app.language import detect_languages
from trainer.augment.filters import Asked, RoundTrip, clean, find_fault, find_longest_run
from trainer.augment.prompts import (
    STYLES,
    match_language,
    read_query_prompts,
    read_rerank_prompt,
    read_triplet_prompts,
)
from trainer.records import Passage

PROMPTS = read_query_prompts()
BEES = Passage(
    id="1", language="en", title="Bees",
    text="A bee that has found nectar dances in the hive. The angle of the dance to the vertical shows the direction "
    "of the flowers relative to the sun, its length the distance. Other bees follow the dancer and then fly out.",
)  # fmt: skip
NIGHT = Passage(
    id="2", language="ja",
    text="富士山は標高三千七百七十六メートルの火山で、日本で最も高い山である。夏には多くの人が登る。",
)  # fmt: skip


def judge(text, *, style="question", language="en", passage=BEES):
    return find_fault(text, Asked(style, language, passage, passage.text), PROMPTS[language])


def test_there_are_prompts_for_many_languages():
    """At least 20 languages have three shots of each style and labels of their own."""
    assert len(PROMPTS) >= 30
    for prompts in PROMPTS.values():
        assert len(prompts.shots) == 3
        assert len({prompts.text_label, *prompts.labels.values()}) == 4
        assert all(prompts.name in prompts.instructions[style] for style in STYLES)


@pytest.mark.parametrize("code", PROMPTS)
def test_shots_are_in_their_language_and_good_examples(code):
    """Every shot is in its language by the project's own check, and no filter but that against shots rejects it."""
    prompts = PROMPTS[code]
    language = code.partition("-")[0]
    assert set(detect_languages([shot.text for shot in prompts.shots])) == {language}
    for number, shot in enumerate(prompts.shots):
        passage = Passage(id=str(number), text=shot.text, language=code)
        for style in STYLES:
            fault = judge(shot.outputs[style], style=style, language=code, passage=passage)
            assert fault in ("", "leaks a shot"), (style, shot.outputs[style])
        elsewhere = judge(shot.outputs["question"], language=code, passage=NIGHT if code != "ja" else BEES)
        assert elsewhere == "leaks a shot"


def test_a_language_finds_its_prompts():
    """A regional code takes the language's prompts, another script or language takes none."""
    assert match_language("pt-BR", PROMPTS) == "pt"
    assert match_language("zh-Hant", PROMPTS) == "zh-Hant"
    assert match_language("ru-Latn", PROMPTS) == ""
    assert match_language("xx", PROMPTS) == ""


def test_broken_prompts_are_refused(tmp_path):
    """A prompt file that misses a part is refused with its name."""
    (tmp_path / "queries.toml").write_text("[instruction]\nquestion = 'x'\n[en]\nname = 'English'\n")
    for read in (read_query_prompts, read_rerank_prompt, read_triplet_prompts):
        with pytest.raises(UsageError, match=r"\.toml"):
            read(tmp_path)


@pytest.mark.parametrize(
    ("text", "style", "fault"),
    [
        ("How do insects tell their sisters where food is?", "question", ""),
        ("bee dance direction distance", "keywords", ""),
        ("Insects can tell each other the way to food.", "claim", ""),
        ("", "question", "nothing written"),
        ("... 12 ?", "question", "nothing written"),
        ("Which bee?", "question", "too short"),
        ("hive", "keywords", "too short"),
        ("Insects can tell each other the way to", "claim", "not finished"),
        ("The insects tell each other the way to food.", "question", "not finished"),
        ("What is the reason that " + "somebody " * 20 + "?", "question", "too long"),
        ("Text: what do bees do in the hive at night?", "question", "echoes the prompt"),
        ("Do bees do bees do bees do bees do bees?", "question", "repeats itself"),
        ("Why does bamboo grow quickly in the hive?", "question", "leaks a shot"),
        ("What does a bee in the library do?", "question", "leaks a shot"),
        ("Wie zeigen die Bienen einander den Weg zu den Blumen?", "question", "another language"),
        ("Как пчёлы показывают дорогу к цветам?", "question", "another language"),
        ("пчела танец", "keywords", "another language"),
        ("The angle of the dance to the vertical shows the direction?", "question", "copied"),
        ("direction of the flowers relative to the sun, its length", "keywords", "copied"),
    ],
)
def test_each_fault_has_its_reason(text, style, fault):
    """A good query is kept; a bad one is rejected for the reason that a person would give."""
    assert judge(text, style=style) == fault


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("日本一の山の高さはどれくらいですか。", ""),
        ("富士山は標高三千七百七十六メートルの火山で、日本で最も高い山か。", "copied"),
        ("日本最高的山峰有多高呢？", "another language"),
        ("竹が一日に伸びる高さはどれくらいですか。", "leaks a shot"),
        ("山山山山山山山山山山は。", "repeats itself"),
    ],
)
def test_scripts_without_spaces_are_judged_too(text, fault):
    """Copies, drift, leaks and loops are found where no space parts words."""
    assert judge(text, language="ja", passage=NIGHT) == fault


def test_own_words_are_no_leak():
    """A shot's subject may be asked for where the passage has it."""
    passage = Passage(id="3", language="en", text="The bamboo in the palace garden was planted in 1912 by the queen.")
    assert judge("Who planted bamboo in the royal garden?", passage=passage) == ""


def test_outputs_are_cleaned():
    """Bullets, quotation marks and the full stop behind keywords go; the words stay."""
    assert clean(' - "What is  it?" ', "question") == "What is it?"
    assert clean("**bee dance.**", "keywords") == "bee dance"
    assert clean("1. „Wo ist es?“", "question") == "Wo ist es?"
    assert clean("«", "question") == "«"


def test_the_longest_run_is_the_longest():
    """The run is compared by letters and digits and is as long as any."""
    assert find_longest_run("see: ABC, def now", "xx abc def yy now") == "abc def"
    assert find_longest_run("xyz", "abc") == ""
    assert find_longest_run("", "abc") == ""


class _Letters:
    """Vectors of how often each letter stands in a text."""

    dim, fingerprint = 26, "letters"

    def encode_queries(self, texts):
        counts = np.array([[text.count(chr(97 + place)) for place in range(26)] for text in texts], dtype=np.float32)
        return counts / np.maximum(np.linalg.norm(counts, axis=1, keepdims=True), 1e-9)

    encode_passages = encode_queries


def test_the_round_trip_asks_for_the_rank():
    """A query is lost if as many passages of its pool as the rank are nearer than its own, which may be in the pool."""
    pool = [Passage(id=text, text=text, language="en") for text in ("aaaa", "aab", "bbbb", "cccc")]
    queries, own = ["aaab", "aaab", "cc"], [pool[0], pool[2], pool[3]]

    assert RoundTrip(_Letters(), {"en": pool}, rank=1).find_lost(queries, own, "en") == [True, True, False]
    assert RoundTrip(_Letters(), {"en": pool}, rank=2).find_lost(queries, own, "en") == [False, True, False]
    assert RoundTrip(_Letters(), {"en": pool}, rank=3).find_lost(queries, own, "en") == [False, False, False]
    assert RoundTrip(_Letters(), {"en": pool}, rank=1).find_lost([], [], "en") == []
