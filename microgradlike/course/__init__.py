"""What a course in notebooks needs beside the engine: checked exercises, a progress bar, one style of plots.

A teacher runs `seal(6)` once and puts what it returns into the exercise; the answer itself then
stands nowhere in the notebook:

    answer = ...
    check(answer, "74616d48e0", hint="Multiply along each path, then add up the paths.")

`plt.style.use("microgradlike.course")` gives plots the course's look.
"""

from microgradlike.course.bar import progress
from microgradlike.course.checks import check, seal
from microgradlike.course.engine import FirstValue, chain_rule, stand_in

__all__ = ["FirstValue", "chain_rule", "check", "progress", "seal", "stand_in"]
