"""Measure the memory and the error of a step model on TensorFlow Lite Micro, with tflite-micro."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from typing import Any

from convert.own_process import code_command
from device_runner.errors import BadModelError, MissingRuntimeError, VerificationError
from device_runner.model.step_file import StepModel

MICRO_LIMIT_S = 600
_MEASURE = """
import json
from device_runner.errors import DeviceRunnerError
from device_runner.stream import Stream
from device_runner.verify import verify
try:
    stream = Stream(sys.argv[1], "micro")
    found = verify(stream)
    answer = {"arena": stream.backend.arena_bytes, "version": stream.backend.version,
              "failure": found.failure, "rms": found.rms, "steps": found.steps}
except DeviceRunnerError as error:
    answer = {"error": error.message, "code": error.exit_code}
print(json.dumps(answer))
"""


@dataclass(frozen=True)
class MicroMeasurement:
    """What was measured of a model on tflite-micro.

    Attributes:
        arena_bytes: memory that the interpreter needs, in bytes.
        version: of tflite-micro.
        rms: root mean square error of the outputs on the golden sequences.
        steps: steps of the golden sequences.
    """

    arena_bytes: int
    version: str
    rms: float
    steps: int


def measure_on_micro(model: StepModel) -> MicroMeasurement:
    """Step a model through its golden sequences on tflite-micro.

    It runs in a process of its own, as it is another TFLite runtime.

    Raises:
        MissingRuntimeError: ``tflite-micro`` is not installed.
        BadModelError: tflite-micro refuses the model or crashes on it.
        VerificationError: it does not compute what the float model does.
    """
    try:
        done = subprocess.run(
            [*code_command(_MEASURE), str(model.path)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=MICRO_LIMIT_S,
            check=False,
        )
        answer: dict[str, Any] = json.loads(done.stdout.decode().splitlines()[-1])
    except (subprocess.TimeoutExpired, ValueError, IndexError) as error:
        raise BadModelError(
            f"{model.path}: tflite-micro crashed on it or gave no answer; export the model again"
        ) from error
    if "error" in answer:
        missing = answer["code"] == MissingRuntimeError.exit_code
        raise (MissingRuntimeError if missing else BadModelError)(answer["error"])
    if answer["failure"]:
        raise VerificationError(
            f"{model.path}: {answer['failure']} on tflite-micro {answer['version']}; "
            "export it with another scheme"
        )
    return MicroMeasurement(
        arena_bytes=answer["arena"],
        version=answer["version"],
        rms=answer["rms"],
        steps=answer["steps"],
    )
