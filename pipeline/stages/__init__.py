"""The stages of a recipe: one file each, listed here in the order they are done.

A stage is a :class:`pipeline.work.Work`: what it needs, the settings it reads, and how it makes its
result. :func:`pipeline.all_stages.run_stages` says which needs which.
"""

from __future__ import annotations

from models.compress import COMPRESSIONS

STAGES: dict[str, str] = {
    "check": "builds every network once, so that what cannot work is found before any work",
    "baseline": "what the task is worth without a recurrent network",
    "train": "a network, by its teachers where it has any",
    **{name: f"a trained network: {COMPRESSIONS[name].purpose}" for name in COMPRESSIONS},
    "calibrate": "ranges of activations and states over a long stream",
    "qat": "a step graph fine-tuned for int8",
    "convert": "step models in every scheme",
    "verify": "golden sequences on every installed runtime",
    "bench": "what a step costs on this machine",
    "robustness": "step models on disturbed data, where the recipe asks for it",
    "report": "the table and report.html",
}
# Small stages that every run does.
ALWAYS_DONE = ("check", "baseline")
# The stages after which a run may stop.
STOPS = tuple(name for name in STAGES if name not in ALWAYS_DONE)
