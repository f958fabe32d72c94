"""The operators of a plan as C: a call of a kernel each, with everything that it needs constant."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convert.errors import NotExportableError
from convert.exporters.c_source import C_TYPES, c_literal
from convert.exporters.firmware.plan import Plan, constants_at

# Headers of native/src that kernels lie in. Those that no kernel of this table has are in the last.
_HEADERS = {
    "unary_f32": "run_functions.h", "unary_i16": "run_functions.h", "regrid": "run_functions.h",
    "scattered_sum_f32": "run_reductions.h", "scattered_sum_integers": "run_reductions.h",
    "softmax_f32": "run_reductions.h", "softmax_i8": "run_reductions.h",
    "softmax_integers": "run_reductions.h", "gather": "run_gather.h",
    "batch_matmul": "run_matmul.h",
}  # fmt: skip
_ELEMENTWISE = "elementwise_lanes.h"
# What these include, and what every step needs; in the order in which they are included.
ALWAYS = ("operator.h", "arithmetic.h", "functions_f64.h", "functions_lanes.h", "products.h",
          "products_portable.h", "products_dsp.h", "run_values.h")  # fmt: skip
_TYPES = {"float32": "ES_F32", "float16": "ES_F16", "int8": "ES_I8", "int16": "ES_I16",
          "int32": "ES_I32", "int64": "ES_I64"}  # fmt: skip
# How a kernel's weights are stored, and its bias; and how many weights of a unit stand together.
_WEIGHTS = {"products_f32": ("float32", "float32", 1), "products_f16": ("uint16", "float32", 1),
            "products_hybrid": ("int8", "float32", 1), "products_i8": ("int8", "int32", 4),
            "products_i16": ("int8", "int64", 2)}  # fmt: skip
_ACTIVATIONS = ("ES_PLAIN", "ES_LOGISTIC", "ES_TANH", "ES_TABLE")
_C_TYPES = {**C_TYPES, "uint16": "uint16_t", "float64": "double"}
LINE = 98
# So many copies are written one by one.
_FEW_RUNS = 8


class OperatorWriter:
    """Writes the operators of a plan's phases.

    Attributes:
        constants: C definitions of what the operators read, in the order of their numbers.
        headers: names of the headers of native/src that the kernels need beside :data:`ALWAYS`.
        flash: bytes of all constants.
    """

    def __init__(self) -> None:
        self.constants: list[str] = []
        self.headers: set[str] = set()
        self.flash = 0
        self._names: dict[tuple[str, bytes], str] = {}

    def phase(self, plan: Plan, number: int) -> list[str]:
        """Return the statements of a phase, with the way of its states at the end."""
        phase = plan.phases[number]
        lines = [line for operator in phase["operators"] for line in self._operator(operator)]
        return [*lines, *(self._run(run) for run in phase["carries"])]

    def array(self, values: NDArray[Any]) -> str:
        """Define an array, once for the same values, and return its name."""
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            raise NotExportableError("a weight of the model is NaN or infinite")
        kind = values.dtype.name
        key = (kind, values.tobytes())
        if key not in self._names:
            self._names[key] = self._define(_C_TYPES[kind], values)
            self.flash += values.nbytes
        return self._names[key]

    def _define(self, kind: str, values: NDArray[Any]) -> str:
        name = f"c{len(self._names)}"
        if values.dtype == np.float64:
            literals = [repr(float(value)) for value in values]
        elif values.dtype == np.int64:
            literals = [f"INT64_C({value})" for value in values.tolist()]
        else:
            literals = [c_literal(value) for value in values.tolist()]
        body = textwrap.fill(", ".join(literals), LINE, initial_indent="  ", subsequent_indent="  ",
                             break_on_hyphens=False)  # fmt: skip
        self.constants.append(f"static const {kind} {name}[{len(values)}] = {{\n{body}}};")
        return name

    def _operator(self, operator: Mapping[str, Any]) -> list[str]:
        kernel = operator["kernel"]
        if kernel in ("move", "products"):
            lines = self._runs(operator["runs"])
            products = (self._product(product) for product in operator["products"])
            return [*lines, *(line for product in products for line in product)]
        if not kernel:
            raise NotExportableError("an operator of the model has no kernel for firmware")
        header = _HEADERS.get(kernel, _ELEMENTWISE)
        self.headers.add(header)
        if header == _ELEMENTWISE:
            self.headers.add("elementwise.h")
        return self._general(kernel, operator)

    def _general(self, kernel: str, operator: Mapping[str, Any]) -> list[str]:
        places = [*operator["in"][:2], operator["out"][0]]
        names = [f"t{number}" for number in range(len(places))]
        lines = ["{"]
        for name, place in zip(names, places, strict=True):
            lines.append(f"  static const es_tensor {name} = {{{self._tensor(place)}}};")
        inputs = ", ".join(f"&{name}" for name in names[:-1])
        fields = [f".in = {{{inputs}}}", f".out = {{&{names[-1]}}}", *self._fields(operator)]
        lines.append(wrapped("  static const es_op op = {", fields, "};"))
        return [*lines, f"  {kernel}(&op, block);", "}"]

    def _fields(self, operator: Mapping[str, Any]) -> list[str]:
        """Return the fields of es_op that are not zero."""
        fields = [f".n = {{{', '.join(map(str, operator['n']))}}}"]
        fields += [f".{name} = {_real(operator[name])}" for name in ("low", "high")]
        if any(operator["scale"]):
            fields.append(f".scale = {{{', '.join(map(_real, operator['scale']))}}}")
        if any(operator["zero"]):
            fields.append(f".zero = {{{', '.join(map(str, operator['zero']))}}}")
        if operator["axis"]:
            fields.append(f".axis = {operator['axis']}")
        # A table of 8 bits holds what the function would give.
        if operator["function"] and operator["kernel"].startswith("unary"):
            fields.append(f".function = {operator['function']}")
            fields.append(f".parameter = {float(operator['parameter'])!r}")
        if operator["packed"]:
            fields.append(f".packed = {self._array_at(operator['packed'], 256, 'float64')}")
        if operator["table"]:
            fields.append(f".table = {self._array_at(operator['table'], 256, 'int8')}")
        if operator["index"]:
            lists = [
                self._array_at(operator[name], operator["index_count"], "int32")
                for name in ("index", "index_b")
            ]
            fields.append(f".index = {{{', '.join(lists)}}}")
        return fields

    def _array_at(self, address: int, count: int, dtype: str) -> str:
        return self.array(constants_at(address, count, dtype))

    def _tensor(self, place: Mapping[str, Any]) -> str:
        constant = self._constant(place) if place["constant"] else "NULL"
        return f"{_TYPES[place['type']]}, {0 if place['constant'] else place['offset']}, {constant}"

    def _constant(self, place: Mapping[str, Any]) -> str:
        dtype = "uint16" if place["type"] == "float16" else place["type"]
        return self._array_at(place["constant"], place["count"], dtype)

    def _address(self, place: Mapping[str, Any], byte: int = 0) -> str:
        if not place["constant"]:
            return f"block + {place['offset'] + byte}"
        name = self._constant(place)
        return f"(const char *){name} + {byte}" if byte else name

    def _run(self, run: Mapping[str, Any]) -> str:
        to = self._address(run["to"], run["to_byte"])
        return f"memcpy({to}, {self._address(run['from'], run['from_byte'])}, {run['bytes']});"

    def _runs(self, runs: Sequence[Mapping[str, Any]]) -> list[str]:
        """Copy bytes; if there are many runs, in a loop over a table of them."""
        if len(runs) <= _FEW_RUNS or any(run["from"]["constant"] for run in runs):
            return [self._run(run) for run in runs]
        ends = [
            (run["to"]["offset"] + run["to_byte"], run["from"]["offset"] + run["from_byte"],
             run["bytes"])
            for run in runs
        ]  # fmt: skip
        dtype = "uint16" if max(map(max, ends)) < 2**16 else "int32"
        table = self.array(np.array(ends, dtype).ravel())
        return [
            f"for (size_t i = 0; i < {3 * len(runs)}; i += 3)",
            f"  memcpy(block + {table}[i], block + {table}[i + 1], (size_t){table}[i + 2]);",
        ]

    def _product(self, product: Mapping[str, Any]) -> list[str]:
        kernel = product["kernel"]
        if kernel not in _WEIGHTS:
            raise NotExportableError("a product of the model has no kernel for firmware")
        terms = [self._term(kernel, product["padded"], term) for term in product["terms"]]
        fields = [f".{name} = {product[name]}" for name in ("units", "rows", "stride", "zero")]
        fields += [f".{name} = {_real(product[name])}" for name in ("low", "high")]
        fields.append(f".activation = {_ACTIVATIONS[product['activation']]}")
        if product["table"]:
            fields.append(f".table = {self._array_at(product['table'], 256, 'int8')}")
        fields.append(f".term_count = {len(terms)}, .terms = {{{', '.join(terms)}}}")
        inputs = [self._address(term["x"]) for term in product["terms"]]
        return [
            "{",
            wrapped("  static const es_product product = {", fields, "};"),
            f"  const void *const x[2] = {{{', '.join([*inputs, 'NULL'][:2])}}};",
            f"  {kernel}(&product, x, {self._address(product['out'])});",
            "}",
        ]

    def _term(self, kernel: str, padded: int, term: Mapping[str, Any]) -> str:
        weights, bias, group = _WEIGHTS[kernel]
        count = padded * -(-term["width"] // group) * group
        fields = [f".width = {term['width']}", f".stride = {term['stride']}"]
        fields.append(f".weights = {self._array_at(term['weights'], count, weights)}")
        fields.append(f".bias = {self._array_at(term['bias'], padded, bias)}")
        if term["scales"] and kernel not in ("products_f32", "products_f16"):
            fields.append(f".scales = {self._array_at(term['scales'], padded, 'float32')}")
        fields += [f".{name} = {_real(term[name])}" for name in ("low", "high", "step")]
        return f"{{{', '.join(fields)}}}"


def wrapped(begin: str, fields: Sequence[str], end: str) -> str:
    """Write an initializer in lines of a width that can be read."""
    indent = " " * (len(begin) - len(begin.lstrip()) + 4)
    text = ", ".join(fields).replace(", ", ",\t").replace(" ", "\0").replace("\t", " ")
    lines = textwrap.fill(
        begin.replace(" ", "\0") + text + end, LINE, subsequent_indent=indent,
        break_long_words=False, break_on_hyphens=False, expand_tabs=False,
    )  # fmt: skip
    return lines.replace("\0", " ")


def _real(value: float) -> str:
    return c_literal(float(value))
