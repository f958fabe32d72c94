"""The names that the step contract fixes."""

STEP_SIGNATURE = "step"
#: Of the first input and the first output; further ones have the model's own names.
INPUT_NAME = "x"
OUTPUT_NAME = "y"
# Among a stream's states the place in the cycle of its next step, where there are several phases.
PHASE_NAME = "phase"
# The array of a golden file that is no input or output.
GOLDEN_LENGTHS = "lengths"
# np.savez takes "file" for its own argument.
RESERVED_NAMES = (GOLDEN_LENGTHS, "file", PHASE_NAME)
