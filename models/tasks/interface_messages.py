"""Messages of user interfaces and their translations, from the catalogs inside packages."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from models.errors import MissingDataError
from models.tasks.package_file import PackageFile, fetch, read_wheel

DJANGO_CITATION = "message catalogs of Django (BSD-3-Clause), read from its package with polib"
MORE_CITATION = (
    "those of Spyder 6.1.8 and Indico 3.2.9 (MIT), Wagtail 8.0.1, django-oscar 4.2.1, Mezzanine "
    "6.1.1 and JupyterLab's language pack 4.5.post3 (BSD-3-Clause), Sphinx 9.0.4 (BSD-2-Clause) "
    "and Horizon 27.0.0 (Apache-2.0), from their wheels"
)
# More programs with hundreds or thousands of messages; only their catalogs are read, from the
# wheels.
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
    PackageFile(
        "indico",
        "3.2.9",
        "indico-3.2.9-py3-none-any.whl",
        "194d2e31ccaabd2b9af7809e67d60d942faee35a6b4de36f0c2c280a32ed84c3",
    ),
    PackageFile(
        "django-oscar",
        "4.2.1",
        "django_oscar-4.2.1-py3-none-any.whl",
        "adbb95ea0130859c204cc6fb221052d6d437ecbaa90800e8418a809f72645e9c",
    ),
    PackageFile(
        "Mezzanine",
        "6.1.1",
        "mezzanine-6.1.1-py2.py3-none-any.whl",
        "abb8a3d7ee91b724d8aa89fa971bad1cf8e368c21055da4913e20e1418a96d1b",
    ),
    PackageFile(
        "jupyterlab-language-pack-fr-FR",
        "4.5.post3",
        "jupyterlab_language_pack_fr_fr-4.5.post3-py2.py3-none-any.whl",
        "9f6ce9d4e64b367ff084a2313af29d6ad8a02d1d08000f3e6c53e2856fa9a11f",
    ),
    PackageFile(
        "Sphinx",
        "9.0.4",
        "sphinx-9.0.4-py3-none-any.whl",
        "5bebc595a5e943ea248b99c13814c1c5e10b3ece718976824ffa7959ff95fffb",
    ),
    PackageFile(
        "horizon",
        "27.0.0",
        "horizon-27.0.0-py3-none-any.whl",
        "8a981dae4fb6626e71553aa185f6e429b0b1efb86b04b0a72c3b18ee04f1f990",
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
    """Read translated messages by their English text, in the catalogs of the programs in MORE;
    their wheels are fetched once, then read from the cache.

    Args:
        language: by its two letters, as the folders of the catalogs begin.

    Raises:
        MissingDataError: polib is not installed, or a wheel cannot be had or has no such language.
    """
    found: dict[str, str] = {}
    for file in MORE:
        # A language pack for people without tools has compiled catalogs alone.
        ending = ".mo" if "language-pack" in file.project else ".po"
        catalogs = read_wheel(fetch(file), ending)
        place = re.compile(rf"/{language}(_[A-Z]+)?/LC_MESSAGES/")
        own = (content for name, content in sorted(catalogs.items()) if place.search(name))
        found = {**_translations(own, compiled=ending == ".mo"), **found}
    return found


def plain(message: str) -> str:
    """Give a message without what stands for values and without HTML, with single spaces."""
    return " ".join(_PLACEHOLDER.sub(" ", message).split())


def _translations(catalogs: Iterable[bytes], compiled: bool = False) -> dict[str, str]:
    try:
        import polib
    except ImportError as error:
        raise _missing(error) from error
    found: dict[str, str] = {}
    for catalog in catalogs:
        entries = polib.mofile(catalog) if compiled else polib.pofile(catalog.decode("utf-8"))
        for entry in entries:
            translation = entry.msgstr or entry.msgstr_plural.get(0, "")
            # What is compiled is translated.
            if translation and (compiled or (entry.translated() and not entry.obsolete)):
                found.setdefault(entry.msgid, translation)
    return found


def _missing(error: ImportError) -> MissingDataError:
    return MissingDataError(
        f"the messages need the packages Django and polib ({error}); "
        "install them with 'pip install edgestep[workstation]'"
    )
