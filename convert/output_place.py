"""Where ``convert`` writes its step model, and whether it may."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from convert.importers import is_code
from convert.rows import write_rows
from convert.schemes import parse_scheme
from convert.schemes.spec import SchemeSpec
from device_runner.errors import OptionError
from device_runner.model.contract_checks import MOST_ROWS
from device_runner.model.step_file import StepModel
from device_runner.output_file import OutputKind, check_not_source, check_replaceable

# The target whose runtimes step several streams a call.
ROWS_TARGET = "cpu"


@dataclass(frozen=True)
class OutputPlace:
    """Where the step model of a model file goes.

    Args:
        source: the model file, or ``file:function``.
        output: the file to write; None: beside the source, with the scheme in its name.
        force: whether to write over a file that is not a step model.
        rows: independent streams that a call steps; None: one.
    """

    source: str | Path
    output: Path | None
    force: bool
    rows: int | None

    def check(self, target: str, schemes: Iterable[SchemeSpec]) -> None:
        """Find out before the work whether the result can be written.

        Raises:
            OptionError: a file of another kind is there, or there cannot be such rows.
        """
        if self.rows is not None and not 2 <= self.rows <= MOST_ROWS:
            raise OptionError(f"--rows takes 2 to {MOST_ROWS:,} streams, not {self.rows}")
        if self.rows is not None and target != ROWS_TARGET:
            raise OptionError(
                f"--rows is for --target {ROWS_TARGET}: {target} steps one stream; leave it out"
            )
        text = str(self.source)
        named = Path(text.rpartition(":")[2] if is_code(self.source) else text)
        for file in [self._default(named, scheme) for scheme in schemes]:
            place = self.output or file
            check_not_source(place, Path(self.source))
            check_replaceable(place, OutputKind.STEP_MODEL, self.force)

    def partial(self, named: Path) -> Path:
        """Return where the model of one row is written first.

        Args:
            named: the source; for code, its function.
        """
        if self.output is not None and self.rows is None:
            return self.output
        return (self.output or named).parent / f"{named.stem}.partial.tflite"

    def finish(self, model: StepModel, named: Path) -> StepModel:
        """Move the model from :meth:`partial` to its place, with as many rows as are wanted.

        Raises:
            NotExportableError, BadModelError, VerificationError: as
                :func:`convert.rows.write_rows`; nothing is left of it.
        """
        final = self.output or self._default(named, parse_scheme(model.contract.scheme))
        if self.rows is None:
            return replace(model, path=model.path.replace(final))
        try:
            # What is refused is named by its source.
            return write_rows(replace(model, path=named), self.rows, final)
        finally:
            model.path.unlink()

    def _default(self, named: Path, scheme: SchemeSpec) -> Path:
        rows = "" if self.rows is None else f"-rows{self.rows}"
        return named.parent / f"{named.stem}-{scheme.file_part}{rows}.tflite"
