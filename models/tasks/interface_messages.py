"""Messages of user interfaces and their translations, from the catalogs inside packages."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from models.errors import MissingDataError
from models.tasks.package_file import PackageFile, fetch, read_wheel

DJANGO_CITATION = "message catalogs of Django (BSD-3-Clause), read from its package with polib"
MORE_CITATION = "those of Spyder 6.1.8 (MIT) and Wagtail 8.0.1 (BSD-3-Clause), from their wheels"
# Two more programs with thousands of messages; only their catalogs are read, from the wheels.
MORE = (
    PackageFile(
        "spyder",
        "6.1.8",
        "spyder-6.1.8-py3-none-any.whl",
        "4da836742a7138c93392a8a0bd1a5ff40002cf92d217ef0e7bed11b522322f90",
    ),
    PackageFile(
        "wagtail",
        "8.0.1",
        "wagtail-8.0.1-py3-none-any.whl",
        "1e6ad5c7891a54efce1400e168298b5a2cc343b642cee89c31bf5ec30c98b26c",
    ),
)
# What stands for a value, "%(name)s" or "{name}" or "%d", and marks of HTML.
_PLACEHOLDER = re.compile(r"%\(\w+\)[a-z]|%[a-z]|\{\w*\}|</?\w+[^>]*>|&\w+;")


@cache
def django_messages(language: str) -> dict[str, str]:
    """Read translated messages by their English text, in all of Django's catalogs together.

    Args:
        language: as Django's folders are called ("fr", "pt_BR"), any but English itself.

    Raises:
        MissingDataError: Django or polib is not installed, or has no such language.
    """
    try:
        import django
    except ImportError as error:
        raise _missing(error) from error
    folder = Path(django.__file__).parent
    catalogs = sorted(folder.glob(f"**/locale/{language}/LC_MESSAGES/*.po"))
    if not catalogs:
        raise MissingDataError(f"Django has no messages in '{language}'; install Django anew")
    return _translations(catalog.read_bytes() for catalog in catalogs)


def more_messages(language: str) -> dict[str, str]:
    """Read translated messages by their English text, in the catalogs of Spyder and Wagtail; their
    wheels are fetched once, then read from the cache.

    Raises:
        MissingDataError: polib is not installed, or a wheel cannot be had or has no such language.
    """
    found: dict[str, str] = {}
    for file in MORE:
        catalogs = read_wheel(fetch(file), ".po")
        place = f"/locale/{language}/LC_MESSAGES/"
        own = (content for name, content in sorted(catalogs.items()) if place in name)
        found = {**_translations(own), **found}
    return found


def plain(message: str) -> str:
    """Give a message without what stands for values and without HTML, with single spaces."""
    return " ".join(_PLACEHOLDER.sub(" ", message).split())


def _translations(catalogs: Iterable[bytes]) -> dict[str, str]:
    try:
        import polib
    except ImportError as error:
        raise _missing(error) from error
    found: dict[str, str] = {}
    for catalog in catalogs:
        for entry in polib.pofile(catalog.decode("utf-8")):
            translation = entry.msgstr or entry.msgstr_plural.get(0, "")
            if entry.translated() and not entry.obsolete and translation:
                found.setdefault(entry.msgid, translation)
    return found


def _missing(error: ImportError) -> MissingDataError:
    return MissingDataError(
        f"the messages need the packages Django and polib ({error}); "
        "install them with 'pip install edgestep[workstation]'"
    )
