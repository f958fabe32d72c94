"""Read a flatbuffer's tables with the standard library alone; every read is bounds-checked.

Wrong bytes raise ValueError, IndexError, struct.error or UnicodeDecodeError.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

Item = TypeVar("Item")


# A table's place in a vector, and the offset to its vtable.
TABLE_BYTES = 8


class BudgetedBytes(bytes):
    """A file's bytes with a budget for reading.

    Sound files rarely share vectors, so all vectors together have fewer elements than the file has
    bytes, a table takes at least TABLE_BYTES, and all names together are shorter than the file. A
    hostile file could repeat one at will. What is read is counted before anything is made of it.
    """

    spent = 0

    def spend(self, elements: int) -> None:
        """Count bytes that are about to be read; ValueError if there are too many."""
        self.spent += elements
        if self.spent > len(self):
            raise ValueError("its vectors or names overlap")


class Table:
    """A flatbuffer table, whose fields are found through its vtable.

    Args:
        data: bytes of the whole file.
        position: where the table is in the file.

    A field is read by its number, its position in the schema's table. ``kind`` is its format as
    :mod:`struct` spells it. A field that the file leaves out has its default.
    """

    def __init__(self, data: BudgetedBytes, position: int) -> None:
        self.data = data
        self.position = position
        self.vtable: int = position - struct.unpack_from("<i", data, _checked(position, data))[0]
        self.vtable_size: int = struct.unpack_from("<H", data, _checked(self.vtable, data))[0]

    def _field(self, number: int) -> int | None:
        entry = 4 + 2 * number
        if entry + 2 > self.vtable_size:
            return None
        offset = struct.unpack_from("<H", self.data, self.vtable + entry)[0]
        return self.position + offset if offset else None

    def integer(self, number: int, kind: str, default: int) -> int:
        """Read a field that is a whole number."""
        field = self._field(number)
        return (
            default if field is None else int(struct.unpack_from("<" + kind, self.data, field)[0])
        )

    def scalar(self, number: int, kind: str, default: float) -> float:
        """Read a field that is a number or a bool."""
        field = self._field(number)
        if field is None:
            return default
        value: float = struct.unpack_from("<" + kind, self.data, field)[0]
        return value

    def table(self, number: int) -> Table | None:
        """Read a field that is a table; None if it is left out."""
        field = self._field(number)
        return None if field is None else Table(self.data, field + unsigned(self.data, field))

    def _vector(self, number: int) -> tuple[int, int]:
        """Return the position of the first element and the number of elements of a vector field."""
        field = self._field(number)
        if field is None:
            return 0, 0
        start = field + unsigned(self.data, field)
        return start + 4, unsigned(self.data, start)

    def vector(self, number: int) -> tuple[int, int]:
        """Return where a vector begins and its length, for elements of at least a byte each."""
        start, count = self._vector(number)
        if start + count > len(self.data):
            raise ValueError("a vector reaches past the end of the file")
        return start, count

    def _elements(self, number: int, size: int, read: Callable[[int], Item]) -> Iterator[Item]:
        start, count = self._vector(number)
        if start + count * size > len(self.data):
            raise ValueError("a vector reaches past the end of the file")
        self.data.spend(count)
        return (read(start + i * size) for i in range(count))

    def tables(self, number: int) -> Iterator[Table]:
        """Read a field that is a vector of tables."""
        data = self.data
        found = self._elements(number, 4, lambda at: Table(data, at + unsigned(data, at)))
        data.spend((TABLE_BYTES - 1) * self._vector(number)[1])
        return found

    def numbers(self, number: int, kind: str) -> tuple[Any, ...]:
        """Read a field that is a vector of numbers."""
        layout = struct.Struct("<" + kind)
        return tuple(
            self._elements(number, layout.size, lambda at: layout.unpack_from(self.data, at)[0])
        )

    def string(self, number: int) -> str:
        """Read a field that is UTF-8 text; "" if it is left out."""
        start, count = self._vector(number)
        if start + count > len(self.data):
            raise ValueError("a name reaches past the end of the file")
        self.data.spend(count)
        return self.data[start : start + count].decode()


def _checked(position: int, data: bytes) -> int:
    if not 0 <= position < len(data):
        raise ValueError(f"offset {position} outside the {len(data)} bytes")
    return position


def unsigned(data: bytes, position: int) -> int:
    """Read the unsigned 32-bit number at a position: an offset or a length."""
    return int(struct.unpack_from("<I", data, _checked(position, data))[0])
