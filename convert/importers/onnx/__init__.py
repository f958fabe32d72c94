"""Import ONNX files: networks over sequences, and networks that are steps already.

A file is checked before ONNX Runtime sees it (:mod:`convert.importers.onnx.files`). A table of
operators (:mod:`convert.importers.onnx.operators`) says how each is computed in TensorFlow, and
what becomes of the axis along which time runs. ONNX Runtime computes the original's outputs.

Two kinds of networks are told apart:

- The network takes states and gives new ones: it is a step, and every call is one. The pairs are
  found by connection, by name, or as the user says (:mod:`convert.importers.onnx.pairs`).
- The network takes whole sequences: the axis of its time is found by trying, and followed through
  the graph. Recurrences and windows over that axis get states
  (:mod:`convert.importers.onnx.time_axis`).
"""
