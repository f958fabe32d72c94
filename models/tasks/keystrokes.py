"""How fast characters come when a person types: the deadline of a step on text."""

# 52 words of five characters a minute.
KEYSTROKE_PERIOD_S = 60 / (52 * 5)
KEYSTROKE_SOURCE = (
    "52 words of five characters a minute, the mean of 136 million keystrokes "
    "(Dhakal, Feit, Kristensson and Oulasvirta 2018, CHI)"
)
