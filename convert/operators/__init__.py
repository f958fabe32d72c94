"""Operators in TensorFlow and in ONNX, by the names of ``device_runner/operators/``.

One file for each of the two, with one function an operator. They are apart from the rows, which go
onto a device that has neither.
"""
