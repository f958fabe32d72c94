"""What an operator is in TensorFlow and in ONNX, under the names of ``device_runner/operators/``.

One file for each of the two, with one function an operator. They stand apart from the rows, which
go onto a device that has neither.
"""
