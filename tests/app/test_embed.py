"""Texts to vectors: order, norm, widths, prefixes, truncation, and token ids that equal the whole tokenizer's."""

import logging
import subprocess
import sys
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer

from drama_app.embed import BATCH_TEXTS, BATCH_TOKENS, OnnxEncoder, open_retriever, plan_batches
from drama_app.errors import RetrieverError
from drama_app.retriever import default_retriever_folder
from drama_app.tokens import PieceTokenizer, PlainTokenizer, open_tokenizer
from tests.tiny_retriever import make_tiny_retriever, write_network

TEXTS = ["baking bread with flour", "", "the train", "the garden and the forest in winter " * 5, "Brot backen", "ship"]
SCRIPTS = """Der schnelle Fuchs sprang über die Brücke.|Быстрая лиса перепрыгнула через мост.|Η γρήγορη αλεπού πήδηξε.
敏捷的狐狸跳过了桥，然后回家。|素早い狐が橋を飛び越えた。カタカナ。|빠른 여우가 다리를 넘었다.
قفز الثعلب السريع فوق الجسر.
השועל המהיר קפץ מעל הגשר.|तेज़ लोमड़ी पुल के ऊपर कूद गई।|দ্রুত শিয়াল সেতুর উপর দিয়ে লাফ দিল।|வேகமான நரி பாலத்தைத் தாண்டியது.
వేగవంతమైన నక్క వంతెన దాటింది.|ವೇಗದ ನರಿ ಸೇತುವೆಯನ್ನು ಹಾರಿತು.|വേഗതയുള്ള കുറുക്കൻ പാലം ചാടി.|ઝડપી શિયાળ પુલ પરથી કૂદ્યું.
ਤੇਜ਼ ਲੂੰਬੜੀ ਨੇ ਪੁਲ ਟੱਪਿਆ।|ଦ୍ରୁତ କୋକିଶିଆଳି ପୋଲ ଡେଇଁଲା।|වේගවත් නරියා පාලම පැන්නා.|สุนัขจิ้งจอกกระโดดข้ามสะพานไปแล้ว|ໝາຈອກໂດດຂ້າມຂົວ
မြေခွေးသည် တံတားကို ခုန်ကျော်ခဲ့သည်။|កញ្ជ្រោងលោតឆ្លងស្ពាន។|ფრთხილი მელა ხიდს გადაახტა.|Արագ աղվեսը ցատկեց կամրջի վրայով։
ፈጣኑ ቀበሮ ድልድዩን ዘለለ።|བོད་ཡིག་གི་ཡི་གེ|Con cáo nhanh nhẹn nhảy qua cầu.|ᏣᎳᎩ ᎦᏬᏂᎯᏍᏗ|ߒߞߏ ߞߊ߲|ⵜⴰⵎⴰⵣⵉⵖⵜ|ދިވެހި ބަސް
ﬁne ＦＵＬＬ　ｗｉｄｔｈ ½ ™|a  b\t c\u00a0d\u200be ▁ ▁▁x|<s> in a text </s> and<mask>, <mask> too<unk>
😀👩‍👩‍👧 \U000e0001 \x07|＜ｓ＞ ＜mask＞|\udcff lone"""


def _cosines(first: "np.ndarray", second: "np.ndarray") -> "np.ndarray":
    return np.asarray((first * second).sum(axis=1))


@pytest.mark.parametrize("kind", ["words", "unigram"])
def test_vectors_are_unit_and_in_order(tmp_path: Path, kind: str) -> None:
    """Row N belongs to text N and has length 1, whatever the lengths of the texts."""
    encoder = open_retriever(make_tiny_retriever(tmp_path / "r", dim=24, kind=kind))  # type: ignore[arg-type]
    texts = [f"{text} {index * ' tree'}" for index, text in enumerate(TEXTS * 9)]
    together = encoder.encode_passages(texts)
    assert together.shape == (54, 24)
    assert together.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1, atol=1e-6)
    alone = np.concatenate([encoder.encode_passages([text]) for text in texts])
    np.testing.assert_allclose(together, alone, atol=1e-6)


def test_nothing_gives_no_rows(tmp_path: Path) -> None:
    """An empty list gives an array of no rows and the full width."""
    encoder = open_retriever(make_tiny_retriever(tmp_path / "r", dim=24))
    assert encoder.encode_queries([]).shape == (0, 24)
    assert list(encoder.stream_passages([])) == []


def test_an_empty_text_has_a_finite_vector(tmp_path: Path) -> None:
    """Even without prefix and special tokens an empty text gives numbers."""
    folder = make_tiny_retriever(tmp_path / "r", dim=8, query_prefix="")
    bare = Tokenizer.from_file(str(folder / "tokenizer.json"))
    bare.post_processor = None
    bare.save(str(folder / "tokenizer.json"))
    from tests.tiny_retriever import restate

    restate(folder)
    assert np.isfinite(open_retriever(folder).encode_queries(["", "the train"])).all()


def test_a_narrower_width_is_a_normalised_prefix(tmp_path: Path) -> None:
    """Cutting happens before normalising, and only to a width that is offered."""
    folder = make_tiny_retriever(tmp_path / "r", dim=32)
    wide = open_retriever(folder).encode_passages(TEXTS)
    encoder = open_retriever(folder, dim=16, threads=1)
    narrow = encoder.encode_passages(TEXTS)
    assert encoder.dim == 16
    cut = wide[:, :16]
    np.testing.assert_allclose(narrow, cut / np.linalg.norm(cut, axis=1, keepdims=True), atol=1e-6)
    with pytest.raises(RetrieverError, match="width 17 are not offered, only 32, 16"):
        open_retriever(folder, dim=17)


def test_two_folders_differ_in_everything(tmp_path: Path) -> None:
    """Retrievers of other widths, prefixes and kinds of tokenizer work side by side."""
    one = open_retriever(make_tiny_retriever(tmp_path / "a", dim=16, query_prefix="the ", passage_prefix=""))
    two = open_retriever(
        make_tiny_retriever(tmp_path / "b", dim=48, kind="unigram", query_prefix="", passage_prefix="the ", seed=3)
    )
    assert one.encode_queries(["bread"]).shape == (1, 16)
    assert two.encode_queries(["bread"]).shape == (1, 48)
    assert one.fingerprint != two.fingerprint
    np.testing.assert_allclose(one.encode_queries(["train"]), one.encode_passages(["the train"]), atol=1e-6)
    np.testing.assert_allclose(two.encode_queries(["the train"]), two.encode_passages(["train"]), atol=1e-6)


def test_text_beyond_the_maximum_is_cut(tmp_path: Path) -> None:
    """What lies beyond the maximum of tokens changes nothing."""
    encoder = open_retriever(make_tiny_retriever(tmp_path / "r", max_tokens=16))
    first, second = encoder.encode_passages(["tree " * 40 + "ship", "tree " * 400])
    np.testing.assert_array_equal(first, second)


def test_a_stream_equals_one_call(tmp_path: Path) -> None:
    """Passages without end come back window by window in their order."""
    encoder = open_retriever(make_tiny_retriever(tmp_path / "r"))
    texts = [f"tree {'ship ' * (index % 7)}" for index in range(600)]
    windows = list(encoder.stream_passages(iter(texts)))
    assert [len(window) for window in windows] == [256, 256, 88]
    np.testing.assert_allclose(np.concatenate(windows), encoder.encode_passages(texts), atol=1e-6)


def test_batches_hold_every_row_once_and_keep_the_budget() -> None:
    """Batches are cut by texts and by padded tokens; a text over the budget stands alone."""
    lengths = [int(length) for length in np.random.default_rng(1).integers(0, 900, 300)]
    batches = plan_batches(lengths)
    assert sorted(row for batch in batches for row in batch) == list(range(300))
    for batch in batches:
        assert len(batch) <= BATCH_TEXTS
        assert len(batch) == 1 or len(batch) * max(lengths[row] for row in batch) <= BATCH_TOKENS


def test_importing_the_package_loads_nothing_heavy() -> None:
    """`from drama_app import open_retriever` loads neither the runtime nor the tokenizers until it is called."""
    code = (
        "import sys; from drama_app import open_retriever; print({'onnxruntime','tokenizers','numpy'} & {*sys.modules})"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "set()"


def test_a_damaged_table_of_pieces_is_made_anew(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A cut cache file is replaced and changes no id."""
    path = make_tiny_retriever(tmp_path / "r", kind="unigram") / "tokenizer.json"
    wanted = [ids.tolist() for ids in open_tokenizer(path, max_tokens=64, cache=tmp_path / "c").encode(TEXTS)]
    (table,) = (tmp_path / "c").glob("pieces-*.bin")
    whole = table.read_bytes()
    for damaged in (whole[:-3], whole[:50], b"", b"\xff" * 40):
        table.write_bytes(damaged)
        with caplog.at_level(logging.WARNING):
            again = open_tokenizer(path, max_tokens=64, cache=tmp_path / "c").encode(TEXTS)
        assert [ids.tolist() for ids in again] == wanted
        assert table.read_bytes() == whole
        assert "is made anew" in caplog.text


@pytest.mark.parametrize("change", ["byte_fallback", "duplicate", "no unknown", "added outside"])
def test_unusual_unigram_files_give_the_same_ids(tmp_path: Path, change: str) -> None:
    """Byte pieces, pieces twice and special tokens outside the vocabulary give what the library gives."""
    import json

    path = make_tiny_retriever(tmp_path / "r", kind="unigram") / "tokenizer.json"
    stated = json.loads(path.read_text())
    vocabulary = stated["model"]["vocab"]
    if change == "byte_fallback":
        stated["model"]["byte_fallback"] = True
        vocabulary += [[f"<0x{byte:02X}>", -20.0] for byte in range(256)]
    elif change == "duplicate":
        vocabulary.append(["▁tree", -1.0])
    elif change == "no unknown":
        vocabulary += [[character, -12.0] for character in "狐öéß"]
    else:
        extra = stated["added_tokens"][0] | {"id": len(vocabulary), "content": "<new>"}
        stated["added_tokens"].append(extra)
    path.write_text(json.dumps(stated))
    texts = [*TEXTS, "größe 狐 <new> tree", "é"]
    whole = Tokenizer.from_file(str(path))
    opened = open_tokenizer(path, max_tokens=64)
    assert isinstance(opened, PlainTokenizer) == (change in ("duplicate", "added outside"))
    whole.enable_truncation(64)
    assert [ids.tolist() for ids in opened.encode(texts)] == [one.ids for one in whole.encode_batch(texts)]


@cache
def _shipped() -> OnnxEncoder:
    return open_retriever()


def test_small_models_give_the_ids_of_the_whole_tokenizer() -> None:
    """In 30 scripts, with special tokens, odd spaces and broken text, ids equal those of the whole vocabulary."""
    path = default_retriever_folder() / "tokenizer.json"
    whole = Tokenizer.from_file(str(path))
    texts = [text for line in SCRIPTS.splitlines() for text in line.split("|")]
    texts += [f"query: {text}" for text in texts] + ["", " ", "\n"]
    opened = open_tokenizer(path, max_tokens=512)
    assert isinstance(opened, PieceTokenizer)
    mended = [text.encode(errors="replace").decode() for text in texts]
    wanted = [one.ids for one in whole.encode_batch(mended)]
    assert [ids.tolist() for ids in opened.encode(texts)] == wanted
    assert [opened.encode([text])[0].tolist() for text in texts] == wanted


def test_meaning_crosses_languages() -> None:
    """A German and a Chinese passage on the matter beat English ones on other matters."""
    query = _shipped().encode_queries(["How long does bread dough have to rise?"])
    passages = _shipped().encode_passages(
        [
            "Der Brotteig muss zwei Stunden gehen, bevor er in den Ofen kommt.",
            "面包面团需要发酵两个小时，然后再放进烤箱。",
            "The train to Hamburg leaves from platform seven at noon.",
            "Invoices are to be paid within thirty days of receipt.",
        ]
    )
    german, chinese, *others = (passages @ query[0]).tolist()
    assert min(german, chinese) > max(others) + 0.1


def test_a_batch_changes_a_vector_little() -> None:
    """Alone and in a batch a text keeps its direction: activations share one scale a batch, so not to the last bit."""
    texts = [text for line in SCRIPTS.splitlines()[:4] for text in line.split("|")]
    together = _shipped().encode_passages(texts)
    alone = np.concatenate([_shipped().encode_passages([text]) for text in texts])
    assert _cosines(together, alone).min() > 0.98


def test_a_session_that_is_damaged_is_refused(tmp_path: Path) -> None:
    """A network that changed after it was verified is refused when the encoder opens it."""
    folder = make_tiny_retriever(tmp_path / "r")
    write_network(folder / "model.onnx", dim=32, seed=9)
    with pytest.raises(RetrieverError, match="fingerprint does not match"):
        open_retriever(folder)
