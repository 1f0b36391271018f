"""The four kinds: cropped sentences, written queries, reordered lists, invented triplets."""

from collections import Counter

import pytest

from tests.trainer.scripted_generator import ScriptedGenerator
from trainer.augment.crop import CropLimits, crop
from trainer.augment.filters import measure_width
from trainer.augment.llm import Sampling
from trainer.augment.prompts import read_query_prompts, read_rerank_prompt, read_triplet_prompts
from trainer.augment.queries import QueryBlock, plan_blocks, take_excerpt, write_block
from trainer.augment.rerank import Candidates, make_prompt, read_order, rerank_block
from trainer.augment.triplets import choose_topic, find_fault, read_triplet, write_triplets
from trainer.records import Passage, Query

SENTENCES = {
    "en": "The mill stands on the river bank. It was built of oak. Each autumn the wheel is taken out. A museum is "
    "planned there. Children may visit it on Sundays.",
    "zh": "这座磨坊建在河边的石头上。它是用橡木建造的。每年秋天都会拆下水轮。"
    "那里计划建一个小博物馆。孩子们星期天可以参观。",
    "th": "โรงสีแห่งนี้ตั้งอยู่ริมแม่น้ำสายใหญ่ที่ไหลผ่านหมู่บ้าน สร้างขึ้นจากไม้โอ๊กเมื่อหลายร้อยปีก่อนโดยช่างท้องถิ่น "
    "ทุกฤดูใบไม้ร่วงจะถอดกังหันออกมาซ่อมแซม",
    "hi": "यह चक्की नदी के किनारे खड़ी है। इसे बलूत की लकड़ी से बनाया गया था। हर पतझड़ में पहिया निकाला जाता है। वहाँ संग्रहालय बनेगा।",
    "ar": "تقع الطاحونة على ضفة النهر الكبير. بنيت من خشب البلوط القديم. "
    "تنزع العجلة كل خريف للإصلاح. سيقام هناك متحف صغير للأطفال.",
}


def make_passage(text, *, number=0, language="en", title=""):
    return Passage(id=f"p{number}", text=text, language=language, title=title, source="test")


@pytest.mark.parametrize("language", SENTENCES)
def test_crops_are_runs_of_whole_sentences(language):
    """In every script a crop stands in its passage, is shorter than it, and does not always begin where it does."""
    passages = [make_passage(SENTENCES[language], number=number, language=language) for number in range(40)]
    crops = [crop(passage, seed=1, limits=CropLimits(least_width=10)) for passage in passages]

    assert all(isinstance(each, Query) for each in crops)
    for each in crops:
        assert each.text in SENTENCES[language]
        assert measure_width(each.text) <= 0.6 * measure_width(SENTENCES[language])
        assert each.kind == "crop"
        assert not each.exact
    assert len({SENTENCES[language].index(each.text) for each in crops}) > 1
    assert crops == [crop(passage, seed=1, limits=CropLimits(least_width=10)) for passage in passages]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("Only one sentence stands here", "the passage is one sentence"),
        ("Yes. No. So.", "no run of sentences of a fitting length"),
        ("12 | 33 | 17 | 99 | 1024 | 7 | 8 | 31\n14 | 15 | 92 | 65 | 35 | 89 | 79\n38 | 46 | 26 | 43 | 38", "no prose"),
    ],
)  # fmt: skip
def test_what_cannot_be_cropped_says_why(text, reason):
    """A passage without a crop is a reason to be counted."""
    assert crop(make_passage(text), seed=1) == reason


def test_excerpts_keep_to_their_budget():
    """An excerpt is whole sentences within the budget, begins at different places, and bears the title."""
    text = " ".join(f"Sentence number {number} speaks of the river and the mill." for number in range(40))
    excerpts = [take_excerpt(make_passage(text, number=number), seed=1, tokens=60) for number in range(20)]

    assert len(set(excerpts)) > 5
    assert all(each in text and each.startswith("Sentence") and each.endswith("mill.") for each in excerpts)
    assert all(len(each) < 400 for each in excerpts)
    assert take_excerpt(make_passage("Es regnet.", title="Wetter"), seed=1) == "Wetter: Es regnet."
    assert take_excerpt(make_passage("Das Wetter ist gut.", title="Wetter"), seed=1) == "Das Wetter ist gut."
    assert 50 < len(take_excerpt(make_passage("word " * 400), seed=1, tokens=60)) < 400
    assert 50 < len(take_excerpt(make_passage("字" * 400), seed=1, tokens=60)) < 150


def test_blocks_mix_languages_and_styles():
    """Every beginning of a plan has a fair share of each language, and each passage is asked for other styles."""
    chosen = {
        "de": [make_passage("x", number=number) for number in range(40)],
        "fr": [make_passage("x", number=number) for number in range(20)],
    }
    blocks = plan_blocks(chosen, size=4, rounds=2)

    beginning = Counter(block.language for block in blocks[: len(blocks) // 2])
    assert beginning == {"de": 10, "fr": 5}
    styles: dict[str, set[str]] = {}
    for block in blocks:
        for passage in block.passages:
            styles.setdefault(f"{block.language}{passage.id}", set()).add(block.style)
    assert {len(each) for each in styles.values()} == {2}
    assert blocks == plan_blocks(chosen, size=4, rounds=2)


def test_a_block_asks_in_its_language_and_counts_what_it_rejects():
    """The prompt has the language's labels and shots; each passage gets an outcome in its order."""
    passages = tuple(make_passage(SENTENCES["en"], number=number, language="en") for number in range(3))
    block = QueryBlock(language="en", style="question", round=0, passages=passages)
    texts = ["Who may look at the planned exhibition?", "Text: hm?", '"When is the wheel removed?"']
    generator = ScriptedGenerator(texts=texts)
    outcomes = list(write_block(block, generator, read_query_prompts()["en"], sampling=Sampling(), seed=1))

    assert [each.fault for each in outcomes] == ["", "too short", ""]
    assert outcomes[2].record.text == "When is the wheel removed?"
    assert [each.record.passage for each in outcomes] == ["p0", "p1", "p2"]
    assert generator.prompts[0].labels == ("Text", "Question")
    assert len(generator.prompts[0].shots) == 3


@pytest.mark.parametrize(
    ("text", "order", "noted"),
    [
        ("[3] > [1] > [2] > [4]", [2, 0, 1, 3], "orders complete"),
        ("3, 1, 2, 4", [2, 0, 1, 3], "orders complete"),
        ("Here are the 4 passages: [2] > [1]", [1, 0, 2, 3], "ids missing"),
        ("[2] > [2] > [9] > [0] > [1]", [1, 0, 2, 3], "ids out of range"),
        ("[2] > [2] > [1] > [3] > [4]", [1, 0, 2, 3], "ids doubled"),
        ("[1] > [2] > [3] > [4]", [0, 1, 2, 3], "orders unchanged"),
        ("[3] > [4] > [5] > [6] > [7", None, "counts on: the retriever's kept"),
        ("I cannot say.", None, "no order: the retriever's kept"),
        ("Passage 3 is good", None, "no order: the retriever's kept"),
        ("", None, "no order: the retriever's kept"),
    ],
)
def test_orders_are_read_and_repaired(text, order, noted):
    """Whatever a model writes becomes an order of all candidates or none, and the repair is counted."""
    notes: Counter[str] = Counter()
    assert read_order(text, 4, notes) == order
    assert notes[noted] > 0


def test_reranked_groups_take_first_and_last():
    """The model's first passage answers, its last ten do not; the query's own is no negative."""
    passages = tuple(make_passage(f"text {number}", number=number) for number in range(20))
    query = Query(id="q", text="which?", passage="p0", kind="question", language="en")
    candidates = Candidates(query, passages, tuple(1 - number / 100 for number in range(20)))
    backwards = " > ".join(f"[{number}]" for number in range(20, 0, -1))
    notes: Counter[str] = Counter()
    generator = ScriptedGenerator(texts=[backwards, "no idea"])
    prompt = read_rerank_prompt()
    groups = [each.record for each in rerank_block([candidates, candidates], generator, prompt, notes)]

    assert groups[0].positives == ("p19",)
    assert groups[0].negatives == tuple(f"p{number}" for number in range(9, 0, -1))
    assert groups[0].negative_scores[0] == pytest.approx(0.91)
    assert groups[1].positives == ("p0",)
    assert groups[1].negatives == tuple(f"p{number}" for number in range(10, 20))
    assert notes["no order: the retriever's kept"] == 1
    assert generator.samplings[0].temperature == 0


def test_a_rerank_prompt_numbers_its_passages():
    """Ids count from 1 and stand in brackets; shots answer with an order of their own ids."""
    prompt = make_prompt("which\none?", ["first", "second"], read_rerank_prompt())
    assert "[1] first\n[2] second" in prompt.ask
    assert prompt.ask.count("which one?") == 2
    assert prompt.shots[0][1] == "[2] > [3] > [1] > [4]"


def test_triplets_are_read_and_judged():
    """Three labelled parts make a triplet; a missing part, twins, copies and shots are rejected."""
    prompts = read_triplet_prompts()["en"]
    good = (
        "how to dry herbs\nAnswer: Hang the bunches upside down in a dark and airy room. After two weeks the leaves "
        "crumble.\nNear miss: Herbs need a sunny place and little water. They are planted in spring, after the frost."
    )
    answer = good.split("\n")[1].removeprefix("Answer: ")
    triplet = read_triplet(good, prompts)

    assert triplet.query == "how to dry herbs"
    assert find_fault(triplet, prompts) == ""
    assert find_fault(read_triplet("how?\nAnswer: only this", prompts), prompts) == "not three parts"
    short = read_triplet("how to?\nAnswer: so\nNear miss: no", prompts)
    assert find_fault(short, prompts) == "a passage too short or too long"
    twins = read_triplet(f"how to dry herbs\nAnswer: {answer}\nNear miss: {answer}", prompts)
    assert find_fault(twins, prompts) == "both passages are the same"
    copied = read_triplet(good.replace("how to dry herbs", "hang the bunches upside down", 1), prompts)
    assert find_fault(copied, prompts) == "copied"
    _, query, positive, negative = prompts.shots[0]
    leaked = read_triplet(f"{query}\nAnswer: {positive}\nNear miss: {negative}", prompts)
    assert find_fault(leaked, prompts) == "leaks a shot"


def test_triplets_become_records():
    """A kept triplet is an exact query and two passages of one document; a broken one has its reason."""
    good = (
        "how to dry herbs\nAnswer: Hang the bunches upside down in a dark and airy room. After two weeks the leaves "
        "crumble.\nNear miss: Herbs need a sunny place and little water. They are planted in spring, after the frost."
    )
    passages = [make_passage(SENTENCES["en"], number=number, title="Herbs") for number in range(2)]
    generator = ScriptedGenerator(texts=[good, "no"])
    first, second = write_triplets(
        passages, generator, read_triplet_prompts()["en"], seed=1, temperature=0.8
    )  # fmt: skip

    assert first.fault == ""
    assert first.query.exact
    assert first.query.passage == first.passages[0].id
    assert first.passages[0].document == first.passages[1].document
    assert second.fault == "not three parts"
    assert generator.prompts[0].ask == "Herbs"
    assert choose_topic(make_passage("The mill, the mill and a river."), seed=1) in {"mill", "river"}
    assert choose_topic(make_passage("1 2 3"), seed=1) == ""
