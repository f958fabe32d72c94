"""``python -m device_runner``: the on-device commands without the rest of edgestep."""

import os
import sys

_ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
# "python -m" looks into the working directory first. What is there must not be imported in place of
# a module of ours, of NumPy or of a runtime.
if sys.path and os.path.abspath(sys.path[0]) == os.getcwd() != _ROOT:
    del sys.path[0]

from device_runner.cli import main  # noqa: E402

main(prog_name="python -m device_runner")
