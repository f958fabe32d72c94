"""``python -m device_runner``: the on-device commands without the rest of edgestep."""

from device_runner.cli import main

main(prog_name="python -m device_runner")
