"""A cut vocabulary loses rows, not texts."""

import json
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers  # noqa: E402

from drama_app.errors import UsageError  # noqa: E402
from drama_app.retriever import default_retriever_folder  # noqa: E402
from trainer.encoder import EncoderConfig  # noqa: E402
from trainer.network import build_network  # noqa: E402
from trainer.prune.vocabulary import count_usage, cut_table, cut_vocabulary, list_tokens  # noqa: E402

SCRIPTS = {
    "Latin": "The river carries snow from the mountains; bread needs flour, water and time.",
    "Latin with marks": "Příliš žluťoučký kůň úpěl ďábelské ódy. Đường phố đông người.",
    "Cyrillic": "Река несёт снег с гор, а хлебу нужны мука и время.",
    "Greek": "Το ποτάμι φέρνει το χιόνι από τα βουνά.",
    "Arabic": "النهر يحمل الثلج من الجبال والخبز يحتاج إلى الطحين.",
    "Hebrew": "הנהר נושא שלג מן ההרים והלחם צריך קמח.",
    "Devanagari": "नदी पहाड़ों से बर्फ लाती है और रोटी को आटा चाहिए।",
    "Bengali": "নদী পাহাড় থেকে বরফ আনে এবং রুটির ময়দা লাগে।",
    "Tamil": "ஆறு மலைகளிலிருந்து பனியைக் கொண்டு வருகிறது.",
    "Telugu": "నది కొండల నుండి మంచును తెస్తుంది.",
    "Kannada": "ನದಿ ಬೆಟ್ಟಗಳಿಂದ ಹಿಮವನ್ನು ತರುತ್ತದೆ.",
    "Malayalam": "നദി മലകളിൽ നിന്ന് മഞ്ഞ് കൊണ്ടുവരുന്നു.",
    "Gujarati": "નદી પર્વતોમાંથી બરફ લાવે છે.",
    "Gurmukhi": "ਨਦੀ ਪਹਾੜਾਂ ਤੋਂ ਬਰਫ਼ ਲਿਆਉਂਦੀ ਹੈ।",
    "Odia": "ନଦୀ ପାହାଡ଼ରୁ ବରଫ ଆଣେ।",
    "Sinhala": "ගඟ කඳුවලින් හිම ගෙන එයි.",
    "Thai": "แม่น้ำพาหิมะลงมาจากภูเขา",
    "Lao": "ແມ່ນ້ຳນຳຫິມະມາຈາກພູເຂົາ",
    "Khmer": "ទន្លេនាំព្រិលមកពីភ្នំ។",
    "Burmese": "မြစ်သည် တောင်များမှ နှင်းကို သယ်ဆောင်သည်။",
    "Tibetan": "གཙང་པོས་རི་ནས་ཁ་བ་འཁྱེར་ཡོང་།",
    "Georgian": "მდინარეს თოვლი მთებიდან მოაქვს.",
    "Armenian": "Գետը ձյուն է բերում լեռներից։",
    "Ethiopic": "ወንዙ ከተራሮች በረዶ ያመጣል።",
    "Han": "河水从山上带来雪，面包需要面粉和时间。",
    "Japanese": "川は山から雪を運び、パンには小麦粉が必要です。",
    "Hangul": "강은 산에서 눈을 나르고 빵에는 밀가루가 필요하다.",
    "Thaana": "ކޯރު ފަރުބަދައިން ސްނޯ ގެނެއެވެ.",
    "Cherokee": "ᎤᏬᏗ ᎡᏉᏂ ᎤᏁᏍᏓᎳ.",
    "Tifinagh": "ⴰⵙⵉⴼ ⵉⵜⵜⴰⵡⵉ ⴷ ⴰⴷⴼⵍ.",
    "Symbols": "E = mc² → 3,5 €/kg ≤ 10 % 🚂🏔️ a\tb\nc",
}
USED = ("Latin", "Cyrillic", "Han")
SPECIAL = ["<pad>", "<s>", "</s>", "<unk>"]
KINDS = ("unigram", "byte-level bpe", "bpe with byte fallback")


def make_tokenizer(kind: str) -> Tokenizer:
    """A small tokenizer of each kind that the backbones have, trained on all scripts."""
    lines = list(SCRIPTS.values()) * 3
    if kind == "unigram":
        tokenizer = Tokenizer(models.Unigram())
        tokenizer.normalizer = normalizers.NFKC()
        tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizers.Metaspace(), decoders.Metaspace()
        trainer: Any = trainers.UnigramTrainer(
            vocab_size=900, special_tokens=SPECIAL, unk_token="<unk>", show_progress=False
        )
    elif kind == "byte-level bpe":
        tokenizer = Tokenizer(models.BPE())
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer.decoder = decoders.ByteLevel()
        alphabet = pre_tokenizers.ByteLevel.alphabet()
        trainer = trainers.BpeTrainer(
            vocab_size=1500, special_tokens=SPECIAL, initial_alphabet=alphabet, show_progress=False
        )
    else:
        tokenizer = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
        tokenizer.normalizer = normalizers.Replace(" ", "▁")
        tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
        unseen = ["<unused0>", "<b>", *(f"<0x{value:02X}>" for value in range(256))]
        trainer = trainers.BpeTrainer(vocab_size=1500, special_tokens=SPECIAL + unseen, show_progress=False)
    tokenizer.train_from_iterator(lines, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 1), ("</s>", 2)]
    )
    if kind == "bpe with byte fallback":
        # Trained as special tokens so that they have ids; in the backbones bytes are plain pieces.
        settings = json.loads(tokenizer.to_str())
        settings["added_tokens"] = [each for each in settings["added_tokens"] if "0x" not in each["content"]]
        tokenizer = Tokenizer.from_str(json.dumps(settings))
    tokenizer.add_tokens([AddedToken("<mask>", special=True)])
    return tokenizer


def cut(tokenizer: Tokenizer, **options: Any) -> Any:
    corpus = [(script, SCRIPTS[script]) for script in USED]
    settings = json.loads(tokenizer.to_str())
    return cut_vocabulary(settings, count_usage(tokenizer, corpus), **options)


@pytest.mark.parametrize("kind", KINDS)
def test_every_script_still_encodes(kind: str) -> None:
    """Cut to three scripts, thirty round-trip as before, with no unknown that was not unknown before."""
    whole = make_tokenizer(kind)
    made = cut(whole)
    small = Tokenizer.from_str(made.write())
    assert small.get_vocab_size() == len(made.kept) < whole.get_vocab_size()
    assert len(SCRIPTS) > 30
    for script, text in SCRIPTS.items():
        before, after = whole.encode(text), small.encode(text)
        assert small.decode(after.ids) == whole.decode(before.ids), script
        assert after.tokens.count("<unk>") == before.tokens.count("<unk>") == 0, script
        assert max(after.ids) < len(made.kept)


@pytest.mark.parametrize("kind", KINDS)
def test_texts_of_the_corpus_encode_as_before(kind: str) -> None:
    """What the corpus holds is cut into the same tokens, renumbered, with special tokens around."""
    whole = make_tokenizer(kind)
    made = cut(whole)
    small = Tokenizer.from_str(made.write())
    for script in USED:
        before, after = whole.encode(SCRIPTS[script]), small.encode(SCRIPTS[script])
        assert after.tokens == before.tokens
        assert [made.kept[each] for each in after.ids] == before.ids
        assert after.tokens[0] == "<s>"
    tokens = list_tokens(json.loads(whole.to_str()))
    new = list_tokens(made.settings)
    assert [tokens[old] for old in made.kept] == [new[index] for index in range(len(new))]
    assert {"<mask>", "<pad>"} <= set(new.values())
    assert "<unused0>" not in new.values()


def test_the_shipped_tokenizer_is_cut() -> None:
    """The 250,002 pieces of the shipped retriever, cut to three scripts, still encode thirty scripts as they did."""
    whole = Tokenizer.from_file(str(default_retriever_folder() / "tokenizer.json"))
    whole.no_truncation()
    made = cut(whole)
    assert len(made.kept) < whole.get_vocab_size() / 3, "pieces of scripts that nobody asked for stay"
    small = Tokenizer.from_str(made.write())
    for script, text in SCRIPTS.items():
        before, after = whole.encode(text), small.encode(text)
        assert small.decode(after.ids) == whole.decode(before.ids), script
        assert after.tokens.count("<unk>") == before.tokens.count("<unk>"), script
        assert script not in USED or [made.kept[each] for each in after.ids] == before.ids, script


def test_limits_and_forced_tokens() -> None:
    """`most` bounds the tokens beyond the forced ones, the most used of any language first; prompts stay whole."""
    whole = make_tokenizer("byte-level bpe")
    sizes = [len(cut(whole, most=most).kept) for most in (1, 330, 400, None)]
    assert 256 < sizes[0] < sizes[1] < sizes[2] < sizes[3]
    assert abs(sizes[2] - 400) < 12
    thai = whole.encode(SCRIPTS["Thai"], add_special_tokens=False)
    kept = set(cut(whole, most=1, always=[SCRIPTS["Thai"]]).kept)
    assert set(thai.ids) <= kept
    assert not set(thai.ids) <= set(cut(whole, most=1).kept)


def test_rare_languages_are_not_drowned() -> None:
    """A token counts by its share in its own language, not in the whole corpus."""
    whole = make_tokenizer("byte-level bpe")
    corpus = [("en", SCRIPTS["Latin"])] * 500 + [("ka", SCRIPTS["Georgian"])]
    ranked = count_usage(whole, corpus).rank(minimum=1)
    georgian = set(whole.encode(SCRIPTS["Georgian"]).ids) - set(whole.encode(SCRIPTS["Latin"]).ids)
    assert georgian & set(ranked[:10])
    assert not georgian & set(count_usage(whole, corpus).rank(minimum=100))


def test_rows_follow_their_tokens() -> None:
    """After the cut a text has the embedding that it had before, and the head's rows move along."""
    whole = make_tokenizer("bpe with byte fallback")
    config = EncoderConfig(
        family="llama",
        vocab_size=whole.get_vocab_size(),
        hidden_size=16,
        layers=1,
        heads=2,
        kv_heads=1,
        head_dim=8,
        ffn_size=16,
        lm_head="own",
    )
    network, made = build_network(config), cut(whole)
    smaller = cut_table(network, made)
    small = Tokenizer.from_str(made.write())
    assert smaller.config.vocab_size == len(made.kept)
    for script in USED:
        before = torch.tensor([whole.encode(SCRIPTS[script]).ids])
        after = torch.tensor([small.encode(SCRIPTS[script]).ids])
        with torch.no_grad():
            torch.testing.assert_close(smaller.embed(after), network.embed(before))
            logits = network.predict(network(before))[..., list(made.kept)]
            torch.testing.assert_close(smaller.predict(smaller(after)), logits)


def test_what_does_not_fit_is_refused() -> None:
    """A tokenizer of another kind, or with more ids than rows, is refused."""
    settings = {"model": {"type": "WordPiece", "vocab": {"a": 0}}, "added_tokens": []}
    whole = make_tokenizer("unigram")
    with pytest.raises(UsageError, match="WordPiece"):
        cut_vocabulary(settings, count_usage(whole, []))
    config = EncoderConfig(
        family="llama", vocab_size=9, hidden_size=8, layers=1, heads=1, kv_heads=1, head_dim=8, ffn_size=8
    )
    with pytest.raises(UsageError, match="do not belong together"):
        cut_table(build_network(config), cut(whole))
