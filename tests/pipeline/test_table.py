"""What the table says beneath its rows."""

import pytest

from convert.model_metrics import ModelMetrics
from models.metrics import ACCURACY
from pipeline.table import Row, recommendations


def row(scheme, p50, accuracy=0.97):
    return Row(
        model="gru-32",
        scheme=scheme,
        seeds=1,
        parameters=1,
        file_bytes=1,
        gzip_bytes=1,
        metric=ACCURACY,
        score=accuracy,
        score_range=(accuracy, accuracy),
        score_by_group={},
        drift=None,
        front_end=None,
        p50=p50,
        p99=None,
        p999=None,
        maximum=p50,
        invoke=p50,
        overhead=1.0,
        headroom=1.0,
        runtimes={},
        sparsity=None,
        metrics=ModelMetrics(ACCURACY, 0.5, validation_score=accuracy, float_validation_score=0.97),
        valid=True,
    )


def test_a_faster_scheme_of_this_machine_is_named_beside_the_recommended_one():
    first, second = recommendations([row("float32", 1.4), row("int8", 1.6)], ["cpu"])
    assert first.startswith("cpu: int8 for gru-32 (")
    assert second == (
        "on this machine's CPU float32 is faster than int8 for gru-32 (1.40 against 1.60 us)"
    )


@pytest.mark.parametrize(
    ("rows", "targets"),
    [
        ([row("float32", 1.59), row("int8", 1.6)], ["cpu"]),
        ([row("float32", 1.6), row("int8", 1.4)], ["cpu"]),
        ([row("dynamic", 1.4, accuracy=0.9), row("int8", 1.6)], ["cpu"]),
        ([row("float32", 1.4), row("int8", 1.6)], ["edgetpu"]),
    ],
    ids=["as fast", "slower", "faster but wrong", "another target"],
)
def test_else_nothing_is_said_of_this_machine(rows, targets):
    (line,) = recommendations(rows, targets)
    assert line.startswith(f"{targets[0]}: int8 for gru-32 (")
