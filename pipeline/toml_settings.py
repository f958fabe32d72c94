"""Read and check settings in TOML files, with one line for what is wrong."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import click
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    create_model,
    model_validator,
)

from convert.toml_text import LARGEST_TOML_BYTES, parse_toml
from device_runner.errors import did_you_mean

Error = TypeVar("Error", bound=click.ClickException)
Settings = TypeVar("Settings")


class Section(BaseModel):
    """A table of a TOML file; a key that it does not know is refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class SettingsSection(Section):
    """A table that becomes settings of classes declared where they are used.

    These classes (:mod:`models.setting`) also check them."""

    settings_classes: ClassVar[tuple[type[Any], ...]] = ()

    @model_validator(mode="after")
    def _fits_its_settings(self) -> SettingsSection:
        for one in self.settings_classes:
            try:
                self.part(one)
            except click.ClickException as error:
                raise ValueError(error.message) from error
        return self

    def part(self, settings_class: type[Settings]) -> Settings:
        """Make an object of a settings class from the table's values for its fields."""
        names = {item.name for item in dataclasses.fields(settings_class)}  # type: ignore[arg-type]
        kept = names & set(type(self).model_fields)
        return settings_class(**{name: getattr(self, name) for name in kept})


def declared(settings_class: type[Any], name: str) -> Any:
    """Declare a key with the default and range that a settings class declares for its field."""
    item = settings_class.__dataclass_fields__[name]
    default = ... if item.default is dataclasses.MISSING else item.default
    return Field(default, **item.metadata)


def optional(settings_class: type[Any], name: str) -> Any:
    """Declare a key that may be left out, with the range that a settings class declares."""
    return Field(None, **settings_class.__dataclass_fields__[name].metadata)


def table_of(name: str, base: type[SettingsSection], *classes: type[Any]) -> type[SettingsSection]:
    """Make a table class whose keys are all fields of settings classes.

    Args:
        name: name of the new class.
        base: the class that it derives from.
    """
    keys: dict[str, Any] = {}
    for one in classes:
        types = typing.get_type_hints(one)
        for item in dataclasses.fields(one):
            keys[item.name] = (types[item.name], declared(one, item.name))
    table: type[SettingsSection] = create_model(name, __base__=base, **keys)
    table.settings_classes = classes
    return table


def read_toml(path: Path, error_class: type[Error]) -> dict[str, Any]:
    """Read the tables and values of a TOML file.

    Raises:
        FileNotFoundError: there is no such file.
        click.ClickException: of ``error_class``; the file cannot be read, or is not TOML.
    """
    try:
        if path.exists() and not path.is_file():
            raise error_class(f"{path}: is no file; name a TOML file")
        with path.open("rb") as file:
            content = file.read(LARGEST_TOML_BYTES + 1)
        return parse_toml(content)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise error_class(f"{path}: cannot be read as TOML ({error})") from error
    except ValueError as error:
        raise error_class(f"{path}: {error}") from error


def first_problem(error: ValidationError, model: type[BaseModel]) -> str:
    """Say in one line what is first wrong with a table.

    Args:
        model: what the table was checked against; its keys are suggested for an unknown one.
    """
    problems = error.errors(include_url=False, include_context=False)
    # A misspelt key also leaves the right one missing; the message names the misspelt one.
    problem = next((p for p in problems if p["type"] == "extra_forbidden"), problems[0])
    place = [part for part in problem["loc"] if isinstance(part, str)]
    where = ".".join(place)
    if problem["type"] == "extra_forbidden":
        return f"unknown key '{where}'{suggestion(place[-1], known_keys(model, place[:-1]))}"
    if problem["type"] == "missing":
        return f"the key '{where}' is missing"
    reason = problem["msg"].removeprefix("Value error, ")
    reason = reason[0].lower() + reason[1:]
    if not where:
        return "must be a table of keys" if problem["type"] == "model_type" else reason
    found = problem["input"]
    # A whole table does not help in a message, and a rule about it says what is wrong.
    shown = "" if isinstance(found, dict) else f", found {found!r}"
    return f"'{where}' is wrong: {reason}{shown}"


def suggestion(name: str, known: Iterable[str]) -> str:
    """Return what to say after an unknown name: the nearest one, and all there are."""
    names = list(known)
    question = did_you_mean(name, names)
    there = f"{', '.join(names) or 'none'}"
    return f"{question} There are: {there}" if question else f"; there are: {there}"


def known_keys(model: type[BaseModel], place: Sequence[str]) -> list[str]:
    """Return the keys of the table at ``place`` within a table of ``model``."""
    for part in place:
        field = model.model_fields.get(part)
        inner = _table_of(field.annotation) if field else None
        if inner is None:
            break
        model = inner
    return list(model.model_fields)


def _table_of(annotation: Any) -> type[BaseModel] | None:
    """Return the table that a field holds, directly or within a list or an option."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    found = (_table_of(argument) for argument in typing.get_args(annotation))
    return next((one for one in found if one), None)
