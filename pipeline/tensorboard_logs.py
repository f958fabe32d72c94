"""Write a run's trainings as TensorBoard reads them: records of events of TensorFlow.

TensorBoard itself need not be installed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path

from models.history import EpochRecord
from pipeline.errors import PipelineError
from pipeline.stages.history import NetworkHistory

#: What TensorBoard calls each series of a history; both losses share a picture.
TAGS = {
    "loss": "loss/training",
    "validation_loss": "loss/validation",
    "validation_score": "score/validation",
    "gradient_norm": "gradient norm",
    "seconds": "seconds an epoch",
}

EVENTS_FILE = "events.out.tfevents.edgestep"


def write_logs(folder: Path, histories: Mapping[str, NetworkHistory]) -> None:
    """Write a file of events for each network, in place of an earlier one.

    Args:
        folder: made where it is missing; ``tensorboard --logdir FOLDER`` shows it.
        histories: by the network's name.

    Raises:
        PipelineError: the folder cannot be written.
    """
    import tensorflow as tf
    from tensorflow.core.framework.summary_pb2 import Summary
    from tensorflow.core.util.event_pb2 import Event

    try:
        for label, history in histories.items():
            own = folder / label
            own.mkdir(parents=True, exist_ok=True)
            with tf.io.TFRecordWriter(str(own / EVENTS_FILE)) as file:
                file.write(Event(file_version="brain.Event:2").SerializeToString())
                for item in fields(EpochRecord):
                    for epoch, value in enumerate(getattr(history.training, item.name), 1):
                        one = Summary.Value(tag=TAGS[item.name], simple_value=value)
                        event = Event(step=epoch, summary=Summary(value=[one]))
                        file.write(event.SerializeToString())
    except (OSError, tf.errors.OpError) as error:
        reason = " ".join(str(error).split())[:200]
        raise PipelineError(f"{folder}: TensorBoard's logs cannot be written ({reason})") from error
