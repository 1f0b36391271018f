"""The letters outside ASCII that each language writes, to tell code pages apart.

Data only. A code page is right if the letters it yields belong together in one language.
"""

_CYRILLIC = "абвгдежзийклмнопрстуфхцчшщъыьэюя"
_GREEK = "αβγδεζηθικλμνξοπρσςτυφχψω"

ALPHABETS: tuple[str, ...] = (
    "àâæçéèêëîïôœùûüÿ",  # French
    "äöüßéà",  # German
    "áéíñóúüºª",  # Spanish
    "àéèìíîòóù",  # Italian
    "áâãàçéêíóôõúüºª",  # Portuguese
    "åäöéèüá",  # Swedish, Finnish
    "æøåéèòôóü",  # Danish, Norwegian
    "áðéíóúýþæö",  # Icelandic, Faroese
    "àçèéíïòóúü·",  # Catalan
    "éëïöüáèóíêîôû",  # Dutch, Afrikaans
    "çëéêâ",  # Albanian, Frisian
    "áéíóú",  # Irish
    "âêîôûŵŷáéíóẃ",  # Welsh
    "äõöüšž",  # Estonian
    "ąćęłńóśźżé",  # Polish
    "áčďéěíňóřšťúůýžöü",  # Czech
    "áäčďéíĺľňóôŕšťúýž",  # Slovak
    "áéíóöőúüű",  # Hungarian
    "čšžćđé",  # Slovene, Croatian, Bosnian, Serbian in Latin letters
    "ăâîșțşţé",  # Romanian
    "ąčęėįšųūž",  # Lithuanian
    "āčēģīķļņšūžōŗ",  # Latvian
    "çğıİöşüâîûi̇",  # Turkish
    "çəğıİöşüi̇",  # Azerbaijani
    "ċġħżàèìòùé",  # Maltese
    "ĉĝĥĵŝŭ",  # Esperanto
    "àảãáạăằẳẵắặâầẩẫấậđèẻẽéẹêềểễếệìỉĩíịòỏõóọôồổỗốộơờởỡớợùủũúụưừửữứựỳỷỹýỵ",  # Vietnamese
    _CYRILLIC + "ё",  # Russian
    _CYRILLIC.replace("ё", "").replace("ъ", "").replace("ы", "").replace("э", "") + "іїєґ",  # Ukrainian
    _CYRILLIC.replace("и", "").replace("щ", "").replace("ъ", "") + "ёіў",  # Belarusian
    "абвгдежзийклмнопрстуфхцчшщъьюяѝ",  # Bulgarian
    "абвгдђежзијклљмнњопрстћуфхцчџш",  # Serbian
    "абвгдѓежзѕијклљмнњопрстќуфхцчџшѐѝ",  # Macedonian
    _GREEK + "άέήίόύώϊϋΐΰ",  # Greek
    "אבגדהוזחטיךכלםמןנסעףפץצקרשתװױײ",  # Hebrew
    "ءآأؤإئابةتثجحخدذرزسشصضطظعغفقكلمنهوىيپچژگکیںےہھٹڈڑۂۓـ",  # Arabic, Persian, Urdu
    "".join(map(chr, range(0x0E01, 0x0E5C))),  # Thai
)

TYPOGRAPHY = "‘’‚“”„«»‹›–—…•·§°©®™€£¥¿¡\xa0\xad¼½¾×±²³¹ªº†‡№¶،؛؟٪µ÷"
"""Marks that stand in texts of many languages."""
