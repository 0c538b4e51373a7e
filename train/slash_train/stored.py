"""Numbers in the files of a run: bounded, so that a damaged file is refused when it is read, not later."""

from typing import Annotated

from pydantic import Field

Natural = Annotated[int, Field(ge=0, lt=2**63)]
Finite = Annotated[float, Field(allow_inf_nan=False)]
