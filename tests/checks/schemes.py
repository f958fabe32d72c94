"""What every scheme must keep; run for all that are listed in convert.schemes.SCHEMES."""

from __future__ import annotations

from pathlib import Path

import pytest

from calibration.methods import MIN_MAX
from convert.errors import UnknownSchemeError
from convert.schemes import SCHEMES, load_scheme, parse_scheme
from convert.schemes.spec import WORDS
from device_runner.model.step_file import load_step_model
from device_runner.stream import Stream
from device_runner.verify import verify


def check_scheme(name: str, made: Path, as_float: Path) -> None:
    """Hold a scheme, and an LSTM's step model in it, against what conversion and runners take for
    granted.

    Args:
        made: the step model in the scheme.
        as_float: the same one in float32.
    """
    _says_what_it_is(name)
    _knows_its_words(name)
    _keeps_the_state_contract(name, made)
    sizes = [len(load_step_model(path).flatbuffer) for path in (made, as_float)]
    assert sizes[0] <= sizes[1]


def _says_what_it_is(name: str) -> None:
    scheme, entry = load_scheme(name), SCHEMES[name]
    assert scheme.name == name
    assert entry.source
    assert entry.purpose
    assert scheme.all_dtypes is None or scheme.state_dtype in scheme.all_dtypes
    # What every model is held to is no looser than what no model may exceed.
    assert scheme.tolerance.rms <= scheme.limit.rms
    assert scheme.tolerance.max_abs <= scheme.limit.max_abs
    assert scheme.tolerance.argmax_agreement >= scheme.limit.argmax_agreement


def _knows_its_words(name: str) -> None:
    words = load_scheme(name).words
    assert words <= WORDS
    assert str(parse_scheme(name)) == name
    for word in words:
        # The default is not named.
        wanted = name if word == MIN_MAX else f"{name}:{word}"
        assert str(parse_scheme(f"{name}:{word}")) == wanted
    with pytest.raises(UnknownSchemeError) as caught:
        parse_scheme(f"{name}:unheard-of")
    assert "\n" not in caught.value.message


def _keeps_the_state_contract(name: str, made: Path) -> None:
    """Check that states keep the scheme's dtype; the loader checks that in and out agree."""
    model = load_step_model(made)
    wanted = load_scheme(name).state_dtype
    assert {state.dtype for state in model.contract.states} == {wanted}
    assert model.contract.input.dtype == wanted
    assert model.contract.scheme == name
    load_scheme(name).check_dtypes(model.graph)
    stream = Stream(model, "reference")
    assert verify(stream).failure is None
    assert {len(state) for state in stream.state_bytes().values()} == {
        state.byte_count for state in model.contract.states
    }
