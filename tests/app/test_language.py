"""Promises of the language of passages."""

import subprocess
import sys

import pytest

from drama_app.language import detect_languages

TEXTS = {
    "en": "The committee will meet again in the autumn to discuss the budget.",
    "de": "Der Ausschuss tritt im Herbst erneut zusammen, um den Haushalt zu beraten.",
    "fi": "Valiokunta kokoontuu syksyllä uudelleen keskustelemaan talousarviosta.",
    "ru": "Комитет соберётся осенью, чтобы снова обсудить бюджет.",
    "uk": "Комітет збереться восени, щоб знову обговорити бюджет і його зміни.",
    "ar": "ستجتمع اللجنة مرة أخرى في الخريف لمناقشة الميزانية.",
    "fa": "این کمیته در پاییز دوباره برای بررسی بودجه تشکیل جلسه می‌دهد.",
    "hi": "समिति बजट पर चर्चा करने के लिए शरद ऋतु में फिर से मिलेगी।",
    "bn": "কমিটি বাজেট নিয়ে আলোচনা করতে শরৎকালে আবার মিলিত হবে।",
    "sw": "Kamati itakutana tena katika msimu wa vuli ili kujadili bajeti.",
    "vi": "Ủy ban sẽ họp lại vào mùa thu để thảo luận về ngân sách.",
    "th": "คณะกรรมการจะประชุมอีกครั้งในฤดูใบไม้ร่วง",
    "zh": "委员会将于秋季再次开会讨论预算。",
    "ja": "委員会は秋に再び予算を審議する。",
    "ko": "위원회는 가을에 다시 모여 예산을 논의한다.",
    "el": "Η επιτροπή θα συνεδριάσει ξανά το φθινόπωρο.",
    "am": "ኮሚቴው በመኸር ወቅት ስለ በጀቱ ለመወያየት እንደገና ይሰበሰባል።",
    "ti": "እቲ ኮሚተ ኣብ ቀውዒ ብዛዕባ ባጀት ንምዝታይ ከም ብሓድሽ ክእከብ እዩ።",
}


@pytest.mark.parametrize("code", TEXTS)
def test_tells_languages_apart(code: str) -> None:
    """A sentence of prose is told, in every script."""
    assert detect_languages([TEXTS[code]]) == [code]


@pytest.mark.parametrize("text", ["", "123 456", "{}[]();==", "x = 1", "OK", '{"a": [1, 2], "b": 3}'])
def test_no_language_where_there_is_no_prose(text: str) -> None:
    """Numbers, code and a word or two get no code."""
    assert detect_languages([text]) == [""]


def test_short_passages_follow_the_majority() -> None:
    """A passage too short to tell takes its document's language, numbers do not."""
    assert detect_languages([TEXTS["de"], TEXTS["de"], "Haus", "12 34"]) == ["de", "de", "de", ""]


def test_another_language_keeps_its_own() -> None:
    """A clear passage in another language is not outvoted."""
    assert detect_languages([TEXTS["de"], TEXTS["de"], TEXTS["ru"]]) == ["de", "de", "ru"]


def test_model_is_loaded_late() -> None:
    """Importing the module loads neither numpy nor the model."""
    code = "import sys, drama_app.language; sys.exit('numpy' in sys.modules or 'py3langid' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
