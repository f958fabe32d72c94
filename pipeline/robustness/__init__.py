"""How a step model behaves when its input, its state or its weights are not as in training.

:mod:`pipeline.robustness.disturbances` lists what can go wrong, :mod:`pipeline.robustness.trial`
steps a model through it, :mod:`pipeline.robustness.page` shows it.
"""
