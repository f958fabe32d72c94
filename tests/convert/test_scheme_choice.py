"""The recommended scheme: the cheapest that survives, with a reason that names what did not."""

import pytest

from convert.errors import ContractViolationError, UnknownTargetError
from convert.model_metrics import ModelMetrics
from convert.scheme_choice import candidates, choose, refusal

GOOD = {
    "float_accuracy": 0.97,
    "accuracy": 0.9,
    "float_validation_accuracy": 0.97,
    "validation_accuracy": 0.965,
    "validation_sequences": 500,
    "drift": {"steps": 10_000, "argmax_agreement": 0.97, "rms": 0.01},
}


def test_unknown_target_suggests_the_nearest():
    with pytest.raises(UnknownTargetError, match="edgetpu"):
        candidates("edge-tpu")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"validation_accuracy": 0.95}, "loses 2.0 points of accuracy"),
        ({"drift": {"steps": 10_000, "argmax_agreement": 0.8, "rms": 0.1}}, "at only 80% of"),
    ],
)
def test_refusal_names_the_loss(change, said):
    assert refusal(ModelMetrics.read(GOOD)) is None
    assert said in refusal(ModelMetrics.read({**GOOD, **change}))


def test_one_validation_sequence_may_be_lost_however_few_there_are():
    few = {**GOOD, "validation_sequences": 50}
    assert refusal(ModelMetrics.read({**few, "validation_accuracy": 0.95})) is None
    assert "loses 4.0" in refusal(ModelMetrics.read({**few, "validation_accuracy": 0.93}))


def test_a_score_that_is_no_number_is_refused_and_one_that_is_missing_is_an_error():
    assert refusal(ModelMetrics.read({**GOOD, "validation_accuracy": None})) is not None
    missing = {key: value for key, value in GOOD.items() if "validation" not in key}
    with pytest.raises(ContractViolationError, match="export the model again"):
        refusal(ModelMetrics.read(missing))


def test_values_are_judged_by_their_error():
    good = {
        "explained_variance": 0.5,
        "float_validation_explained_variance": 0.99,
        "validation_explained_variance": 0.985,
    }
    assert refusal(ModelMetrics.read({**good, "drift": {"steps": 10_000, "rms": 0.01}})) is None
    assert "drifts by 8.0%" in refusal(
        ModelMetrics.read({**good, "drift": {"steps": 10_000, "rms": 0.08}})
    )


def test_an_error_in_a_unit_is_judged_by_its_share():
    metric = {"name": "mean absolute error", "unit": "mg/dL", "higher_is_better": False}
    key = "validation_mean_absolute_error"
    good = {"metric": metric, "mean_absolute_error": 20, f"float_{key}": 15.5, key: 15.7}
    assert refusal(ModelMetrics.read(good)) is None
    assert refusal(ModelMetrics.read({**good, key: 12.0})) is None
    said = refusal(ModelMetrics.read({**good, key: 16.43}))
    assert "worse by 6.0%" in said
    assert "16.43 mg/dL against 15.5 mg/dL" in said


def test_first_that_survives_wins_and_the_reason_says_what_did_not():
    choice = choose("cpu", {"int8": "loses 2.0 points of accuracy", "dynamic": None})
    assert choice.scheme == "dynamic"
    assert "int8 loses 2.0 points" in choice.reason
    assert choose("cpu", {"int8": None, "dynamic": None}).scheme == "int8"


def test_where_all_are_refused_the_last_is_taken_and_said_to_be():
    choice = choose("edgetpu", {"int8": "loses 3.0 points of accuracy"})
    assert choice.scheme == "int8"
    assert "nothing else is left" in choice.reason
