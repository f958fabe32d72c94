"""Import Keras SavedModels of tf_keras.

Only the list of layers and the weights are read. The graphs in the folder, which a loader would
restore and could run, are left alone.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import tf_keras as keras

from convert.errors import ConvertError, SourceModelError
from convert.importers.imported import ImportedModel
from convert.importers.keras2 import imported
from convert.importers.keras_files import TEXT_LIMIT_BYTES, failed
from convert.importers.layer_list import largest_size, read_layer_list
from models.tensorflow_log import quiet

METADATA = "keras_metadata.pb"
ROOT = "root"


def import_saved_model(path: Path) -> ImportedModel:
    """Read a SavedModel; errors as :func:`convert.importers.import_model`."""
    try:
        config, changed = _layer_list(path)
        weights = path / "variables" / "variables"
        with quiet():
            _check_sizes(weights, config)
            kind = keras.Sequential if config["class_name"] == "Sequential" else keras.Model
            model = kind.from_config(config["config"])
            model.load_weights(weights).assert_existing_objects_matched().expect_partial()
        return imported(model, "tf_keras SavedModel", changed)
    except ConvertError as error:
        raise type(error)(f"{path}: {error.message}") from error
    # TensorFlow raises errors of any type for a damaged checkpoint.
    except Exception as error:
        raise failed(path, error) from error


def _layer_list(path: Path) -> tuple[dict[str, Any], tuple[str, ...]]:
    from tf_keras.protobuf import saved_metadata_pb2

    file = path / METADATA
    if not file.is_file():
        raise SourceModelError(
            "no Keras layers in this folder (a SavedModel exported for serving holds a graph "
            "alone); save the model itself with model.save('model.keras')"
        )
    if file.stat().st_size > TEXT_LIMIT_BYTES:
        raise SourceModelError(f"{METADATA} is too large for a list of layers")
    nodes = saved_metadata_pb2.SavedMetadata.FromString(file.read_bytes()).nodes
    root = next((node for node in nodes if node.node_path == ROOT), None)
    if root is None:
        raise SourceModelError(f"{METADATA} does not hold a model")
    facts = json.loads(root.metadata)
    listed = {"class_name": facts.get("class_name"), "config": _without_tuples(facts.get("config"))}
    return read_layer_list(json.dumps(listed))


def _without_tuples(value: Any) -> Any:
    """Replace what the format marks as tuples by lists."""
    if isinstance(value, list):
        return [_without_tuples(item) for item in value]
    if not isinstance(value, dict):
        return value
    if value.get("class_name") == "__tuple__":
        return [_without_tuples(item) for item in value.get("items", [])]
    return {key: _without_tuples(item) for key, item in value.items()}


def _check_sizes(weights: Path, config: dict[str, Any]) -> None:
    import tensorflow as tf

    shapes = tf.train.load_checkpoint(str(weights)).get_variable_to_shape_map().values()
    largest = max((size for shape in shapes for size in shape), default=1)
    if (size := largest_size(config)) > max(largest, 64):
        raise SourceModelError(
            f"a layer is {size} wide, but no weight in the folder has an axis that long"
        )
