"""Errors of an export."""

from slash_infer.errors import Argument, UserError

REMEDY = "export another `checkpoint`; if that fails too, report it: it is a defect of Slash"


class ParityError(UserError):
    """A graph does not compute what the model computes: a defect of the export, or numbers that float32 cannot hold.

    Args:
        subject: the graph.
        fault: how it differs.
        remedy: what would help.
    """

    def __init__(self, subject: Argument | str | None, fault: str, remedy: str | None = REMEDY) -> None:
        super().__init__(subject, fault, remedy)
