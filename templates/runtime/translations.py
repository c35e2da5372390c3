"""Short texts in twenty languages: the translations that come with Django (BSD licence)."""

import gettext
import re
from collections import Counter, defaultdict
from pathlib import Path

from runtime.errors import fail

# All of them use Latin letters: another script would give a language away by a single letter.
# fmt: off
LANGUAGES = (
    "cs", "da", "de", "es", "et", "fi", "fr", "hr", "hu", "id",
    "it", "lt", "lv", "nl", "pl", "pt", "ro", "sv", "tr", "vi",
)
# fmt: on
LEAST_LETTERS = 12  # shorter texts, such as "OK", are equal in many languages
# Placeholders, tags and entities are equal in all languages, so they are no evidence for one.
_MARKUP = re.compile(r"%\(\w+\)\w|%\w|\{\w*\}|<[^>]*>|&\w+;")


def translations() -> dict[str, dict[str, str]]:
    """Return the longer texts by message and language.

    Messages that differ only in case or punctuation count as one, and only the first plural form is
    used. A text that occurs twice, in any language, is dropped, so that splits by message share no
    text.
    """
    texts: defaultdict[str, dict[str, str]] = defaultdict(dict)
    for language in LANGUAGES:
        for path in sorted(_package().glob(f"**/locale/{language}/LC_MESSAGES/django.mo")):
            with path.open("rb") as file:
                catalog = vars(gettext.GNUTranslations(file))["_catalog"]
            for message, translation in catalog.items():
                source = message[0] if isinstance(message, tuple) else message
                text = " ".join(_MARKUP.sub(" ", translation).split())
                if source and sum(map(str.isalpha, text)) >= LEAST_LETTERS:
                    name = re.sub(r"\W+", "", source.rpartition("\x04")[2].casefold())
                    texts[name].setdefault(language, text)
    counts = Counter(text for each in texts.values() for text in each.values())
    return {
        name: {language: text for language, text in sorted(each.items()) if counts[text] == 1}
        for name, each in sorted(texts.items())
    }


def _package() -> Path:
    try:
        import django  # type: ignore[import-untyped]
    except ImportError:
        fail("the bundled texts come with Django: pip install django; or use --data.")
    return Path(django.__file__).parent
