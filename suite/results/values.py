"""What fields of a record may hold, all within bounds: results are hostile input."""

from typing import Annotated

from pydantic import Field

Count = Annotated[int, Field(ge=0, lt=2**63)]
Nanoseconds = Annotated[int, Field(ge=0, lt=2**63)]
Rate = Annotated[float, Field(gt=0)]
Samples = Annotated[tuple[Nanoseconds, ...], Field(max_length=2_000_000)]
Text = Annotated[str, Field(max_length=20_000)]
Word = Annotated[str, Field(max_length=400)]
Digest = Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$")]
