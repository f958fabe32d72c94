"""The names that the step contract fixes."""

STEP_SIGNATURE = "step"
# Of the first input and the first output; further ones have the model's own names.
INPUT_NAME = "x"
OUTPUT_NAME = "y"
# Among a stream's states: where in the cycle its next step is, if there are several phases.
PHASE_NAME = "phase"
# The array of a golden file that is neither an input nor an output.
GOLDEN_LENGTHS = "lengths"
# np.savez takes "file" for its own argument.
RESERVED_NAMES = (GOLDEN_LENGTHS, "file", PHASE_NAME)
