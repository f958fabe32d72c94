"""Why a step model decides as it does: which inputs and past steps count, what its gates do, and
how long its states remember.

:mod:`pipeline.interpretation.occlusion` and :mod:`pipeline.interpretation.gradient` ask the same
question in two ways, so that each is a check of the other.
"""
