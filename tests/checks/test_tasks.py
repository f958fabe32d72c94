"""Every task that is listed, on its real data."""

import pytest

from device_runner.errors import MissingRuntimeError
from models.errors import MissingDataError
from models.tasks import TASKS, keywords, load_task
from tests.checks.tasks import check_task

# Their data is fetched by pip, or takes minutes to be read.
SLOW = (
    "char-lm", "engine-fault", "engine-fault-noisy", "gestures", "heartbeats", "sentiment",
    "translation", "turbofan",
)  # fmt: skip
# Made of a folder of sound, here of a small one.
OF_SOUND = ("keywords", "keywords-synthetic")


# Two messages may say the same in a language, so that a text stands on two sides. Known and open:
# once its loader takes such texts out, the check fails here, and the name goes.
WITH_SHARED_TEXTS = ("language-id",)


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow if name in SLOW else ()) for name in TASKS]
)
def test_task(name, request):
    if name in OF_SOUND:
        task = keywords.load_folder(request.getfixturevalue("small_speech"), name, "made here")
    else:
        try:
            task = load_task(name)
        except (MissingDataError, MissingRuntimeError) as error:
            pytest.skip(error.message)
    check_task(task, with_shared_texts=name in WITH_SHARED_TEXTS)
