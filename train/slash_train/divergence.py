"""What is said when training diverges."""

from slash_infer.errors import UserError


def diverged(fault: str, *, saved: bool) -> UserError:
    """Return the error to raise.

    Args:
        fault: what is not finite, and since when.
        saved: whether the run has a checkpoint. What is in it is finite.
    """
    start_anew = "start a new run with a lower training.learning_rate"
    go_on = (
        "go on from the last checkpoint, which is from before, with `resume` `overrides` training.learning_rate=..."
    )
    return UserError("training diverged", fault, f"{go_on} (lower), or start a new run" if saved else start_anew)
