"""Random models of Keras 3 and tf_keras are stepped as the framework itself computes them.

A model may be refused only for what is known to have no step; the line is one of REFUSALS.
"""

from __future__ import annotations

import re

import keras as keras_3
import numpy as np
import pytest
import tf_keras

from convert.errors import ConvertError
from convert.import_conversion.conversion import prepare
from convert.import_conversion.description import Facts
from convert.import_conversion.proof import float_stream, outputs_of
from convert.import_conversion.window_choice import WindowWish, choose_meaning
from convert.importers import import_model
from convert.step.step_graph import Kind
from tests.convert.importers.random_keras import KINDS, make

FRAMEWORKS = {"Keras 3": keras_3, "tf_keras": tf_keras}
MODELS = 110
QUICK = {("Keras 3", "operations"), ("tf_keras", "window")}
# Lines that are true of what some of these models hold.
REFUSALS = (
    "joins values that come at different steps",
    "answer at steps that never fall together",
)


def _cases():
    for framework in FRAMEWORKS:
        for seed in range(MODELS):
            kind = KINDS[seed % len(KINDS)]
            quick = seed < len(KINDS) and (framework, kind) in QUICK
            marks = () if quick else pytest.mark.slow
            yield pytest.param(framework, seed, marks=marks, id=f"{kind} {seed}, {framework}")


@pytest.mark.parametrize(("framework", "seed"), _cases())
def test_a_random_model_is_stepped_exactly(framework, seed, tmp_path):
    made = make(FRAMEWORKS[framework], seed)
    made.model.save(tmp_path / "model.keras")
    reason = None
    try:
        imported = import_model(tmp_path / "model.keras", whole=True)
        meaning = choose_meaning(imported, WindowWish())
        conversion = prepare(imported, Facts(), None, meaning=meaning)
    except ConvertError as error:
        reason = error.message
    if reason is not None:
        assert any(re.search(one, reason) for one in REFUSALS), reason
        return
    steps = 14 if made.window is None else made.window + 5
    if Kind.STEP in conversion.module.output_kinds.values() and made.window:
        steps = made.window
    stream = made.stream(seed, steps)
    names = [item.name for item in conversion.module.inputs]
    name = conversion.module.outputs[0]
    open_stream = float_stream(conversion.step, conversion.description)
    given = outputs_of(open_stream, dict(zip(names, stream, strict=True)))[name]
    timing = conversion.module.graph.timing(name)
    sums_up = conversion.module.output_kinds[name] is Kind.SUMMARY or meaning.window is not None
    wanted = made.ask(stream, (timing.delay, timing.period), sums_up)
    answered = ~np.isnan(wanted.reshape(steps, -1)).any(1)
    assert answered.any()
    wanted, given = (values.reshape(steps, -1)[answered] for values in (wanted, given))
    spread = max(float(np.ptp(wanted)), 1e-2)
    np.testing.assert_allclose(given, wanted, atol=1e-4 * spread, rtol=0)
