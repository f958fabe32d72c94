"""The names that the step contract fixes."""

STEP_SIGNATURE = "step"
# The first input and the first output where the model has no names of its own for them.
INPUT_NAME = "x"
OUTPUT_NAME = "y"
# In a stream's states, where in the cycle its next step is, if there are several phases; the number
# of the next frame, if the model has a window.
PHASE_NAME = "phase"
# The only array of a golden file that is neither an input nor an output.
GOLDEN_LENGTHS = "lengths"
# "file" is an argument of np.savez itself.
RESERVED_NAMES = (GOLDEN_LENGTHS, "file", PHASE_NAME)
