"""The float world: recurrent cells, real tasks, training and compression (tf_keras, TFMOT)."""

import os

# TFMOT works on Keras 2 alone, and decides which Keras it sees when TensorFlow is imported.
os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
