"""Decoding text of unknown encoding."""

import unicodedata
from pathlib import Path

import pytest

from drama_app.errors import ExtractionError
from drama_app.extract import encoding
from drama_app.extract.encoding import decode, looks_binary, read_text
from drama_app.extract.source import Source

TEXTS = {
    "de": "Die Straßenbahn fährt über die Brücke, während Gäste im Café größere Stücke Kuchen bestellen. Schöne Grüße!",
    "fr": "Après le dîner, l'élève a préféré étudier la leçon plutôt que de jouer; sa mère était très fière de lui.",
    "es": "¿Cuándo llegará el próximo tren a la estación? Mañana habrá más niños en el jardín, según dijo la señora.",
    "is": "Hafi mannréttindi verið fyrir borð borin og lítilsvirt, hefur slíkt haft í för með sér siðlausar athafnir.",
    "pl": "Zażółć gęślą jaźń. W Łodzi mieszkał człowiek, który lubił grać na skrzypcach i śpiewać pieśni o zmierzchu.",
    "cs": "Příliš žluťoučký kůň úpěl ďábelské ódy. Děti šly ráno do školy a večer se vrátily domů k mamince.",
    "hu": "A férfi árvíztűrő tükörfúrógépet vásárolt, és örömmel vitte haza a hegyek között fekvő kis házába.",
    "ro": "Fiii dumneavoastră ştiu că această ţară îşi păstrează obiceiurile şi tradiţiile în fiecare sărbătoare.",
    "tr": "Bugün hava çok güzel olduğu için çocuklar bahçede oynuyor; şüphesiz akşam yağmur yağacak, dedi yaşlı adam.",
    "lt": "Žmonės gimsta laisvi ir lygūs savo orumu ir teisėmis. Jiems suteiktas protas ir sąžinė, todėl jie brolių.",
    "et": "Kõik inimesed sünnivad vabadena ja võrdsetena oma väärikuselt ja õigustelt. Neile on antud mõistus.",
    "ru": "Все люди рождаются свободными и равными в своем достоинстве и правах. Они наделены разумом и совестью.",
    "uk": "Всі люди народжуються вільними і рівними у своїй гідності та правах. Вони наділені розумом і совістю, її.",
    "el": "Όλοι οι άνθρωποι γεννιούνται ελεύθεροι και ίσοι στην αξιοπρέπεια και τα δικαιώματα. Είναι προικισμένοι.",
    "he": "כל בני האדם נולדו בני חורין ושווים בערכם ובזכויותיהם. כולם חוננו בתבונה ובמצפון, לפיכך חובה עליהם לנהוג.",
    "ar": "يولد جميع الناس أحرارا متساوين في الكرامة والحقوق، وقد وهبوا عقلا وضميرا وعليهم أن يعامل بعضهم بعضا.",
    "th": "มนุษย์ทั้งหลายเกิดมามีอิสระและเสมอภาคกันในเกียรติศักดิ์และสิทธิ ต่างมีเหตุผลและมโนธรรม และควรปฏิบัติต่อกัน",
    "ja": "すべての人間は、生れながらにして自由であり、尊厳と権利とについて平等である。人間は理性と良心とを授けられ。",
    "zh": "人人生而自由,在尊严和权利上一律平等。他们赋有理性和良心,并应以兄弟关系的精神相对待。",
    "zh-Hant": "人人生而自由,在尊嚴和權利上一律平等。他們賦有理性和良心,並應以兄弟關係的精神相對待。",
    "ko": "모든 인간은 태어날 때부터 자유로우며 그 존엄과 권리에 있어 동등하다. 인간은 이성과 양심을.",
}
LEGACY = [
    *((language, name) for language in ("de", "fr", "es") for name in ("cp1252", "iso8859-15", "mac_roman", "cp850")),
    ("is", "mac_iceland"),
    *((language, name) for language in ("pl", "cs", "hu") for name in ("cp1250", "iso8859-2", "cp852")),
    ("ro", "cp1250"),
    ("ro", "iso8859-2"),
    ("tr", "cp1254"),
    ("tr", "iso8859-9"),
    ("lt", "cp1257"),
    ("lt", "iso8859-13"),
    ("et", "cp1257"),
    *(("ru", name) for name in ("cp1251", "koi8-r", "cp866", "iso8859-5", "mac_cyrillic")),
    ("uk", "cp1251"),
    ("uk", "koi8-u"),
    ("el", "cp1253"),
    ("el", "iso8859-7"),
    ("he", "cp1255"),
    ("ar", "cp1256"),
    ("th", "cp874"),
    ("th", "tis-620"),
    *(("ja", name) for name in ("shift_jis", "euc_jp", "iso2022_jp")),
    ("zh", "gb18030"),
    ("zh-Hant", "big5"),
    ("ko", "euc_kr"),
]
WIDE = ("utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be")


@pytest.mark.parametrize(("language", "name"), LEGACY)
def test_a_sentence_in_a_legacy_encoding_is_read(language: str, name: str) -> None:
    """A hundred characters without any mark are enough to tell the code page."""
    text = TEXTS[language]
    assert decode(text.encode(name)).text == text


@pytest.mark.parametrize("language", ["de", "ru", "hi", "vi", "zh"])
@pytest.mark.parametrize("name", WIDE)
def test_unicode_is_read_with_and_without_mark(language: str, name: str) -> None:
    """UTF-8, UTF-16 and UTF-32 of either byte order are told apart by their bytes."""
    more = {
        "hi": "सभी मनुष्यों को गौरव और अधिकारों के मामले में जन्मजात स्वतन्त्रता है।\n" * 3,
        "vi": unicodedata.normalize("NFC", "Tất cả mọi người sinh ra đều được tự do và bình đẳng.\n" * 3),
    }
    text = more.get(language) or TEXTS[language] + "\n" + TEXTS[language]
    decoded = decode(text.encode(name))
    assert decoded.text == text
    assert not decoded.notes


def test_random_bytes_are_refused() -> None:
    """Binary data gives a reason, not a screen of rubbish."""
    data = bytes((index * 7919 + index // 13) % 256 for index in range(4096))
    assert looks_binary(data)
    with pytest.raises(ExtractionError, match="binary"):
        decode(data)


def test_damaged_utf8_stays_utf8_and_says_so() -> None:
    """One bad byte in a log does not turn every accent into rubbish."""
    decoded = decode("é".encode() * 50 + b"\xff" + "ü".encode() * 50)
    assert decoded.text == "é" * 50 + "\ufffd" + "ü" * 50
    assert "not valid UTF-8" in decoded.notes[0]


@pytest.mark.parametrize(
    ("text", "damage"),
    [
        ("Das Café an der Straße hat heute offen…\nGr", b"\xc3"),
        ("Café crème, déjà vu, Größe", "\nnaïve résumé".encode("latin-1")),
        ("Zażółć gęślą jaźń", b"\xff\xfe"),
        ("Договор", b"\xd0"),
        ("„So ist es – immer“", b" \x80 "),
    ],
)
def test_a_short_text_with_few_bad_bytes_stays_utf8(text: str, damage: bytes) -> None:
    """A cut last letter or a line in another encoding does not turn the letters before it into rubbish."""
    decoded = decode(text.encode() + damage)
    assert decoded.text.startswith(text)
    assert "not valid UTF-8" in decoded.notes[0]


@pytest.mark.parametrize("text", ["Café", "Das ist das Café", "AMANHÃ… NÃO É", "José"])
def test_a_letter_that_ends_a_latin_text_is_no_cut_utf8(text: str) -> None:
    """One byte at the end could begin a UTF-8 letter; without any whole one it is the code page's letter."""
    assert decode(text.encode("cp1252")).text == text


def test_a_false_declaration_is_overruled_and_a_true_one_taken() -> None:
    """The bytes decide; a declared charset decides only where they leave room."""
    assert decode(TEXTS["ru"].encode("cp1251"), hint="iso-8859-1").text == TEXTS["ru"]
    assert decode(TEXTS["ru"].encode(), hint="cp1251").text == TEXTS["ru"]
    assert decode(b"\x93Hi\x94 \x80 5", hint="iso-8859-1").text == "“Hi” € 5"
    for useless in ("utf-16", "unicode_escape", "no-such-charset", "\x00"):
        assert decode(TEXTS["fr"].encode("cp1252"), hint=useless).text == TEXTS["fr"]


def test_a_text_too_large_is_refused_with_both_figures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The reason names the size and the limit."""
    monkeypatch.setattr(encoding, "MAX_TEXT_BYTES", 1024 * 1024)
    path = tmp_path / "dump.txt"
    path.write_bytes(b"x" * (3 * 1024 * 1024))
    with pytest.raises(ExtractionError, match="too large: 3 MB, the limit is 1 MB"):
        read_text(Source(path=path, name=path.name))


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Öffnungszeiten: Ö1 sendet täglich, Ö3 auch.", "cp1252"),
        ("Übung Ü1, Ü2 und Ü3", "cp1252"),
        ("Формат А4, трасса М5, танк Т34, блок Б2.", "cp1251"),
        ("Šiauliai Š1, Ž2", "cp1257"),
    ],
)
def test_letters_before_numbers_are_letters(text: str, name: str) -> None:
    """Stations, sheets and motorways are named so in every language."""
    assert decode(text.encode(name)).text == text


@pytest.mark.parametrize(
    "text", ["5 µm ± 0.3 µm at 20 °C", "Größe 5 µm und ±3 %", "Temp 20 °C, ±5 % of it", "5 € or £4 of it"]
)
def test_signs_of_measures_and_money_are_no_letters_of_other_languages(text: str) -> None:
    """What stands before a digit or means a millionth decides for no Polish, Baltic or Romanian code page."""
    assert decode(text.encode("cp1252")).text == text
