"""What every branch of a configuration tree has in common: strict sections, and kinds of number."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator

__all__ = ["Count", "NonNegative", "Positive", "Section", "Share"]

Count = Annotated[int, Field(ge=1)]
Positive = Annotated[float, Field(gt=0)]
NonNegative = Annotated[float, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]

LARGEST = 2**31 - 1


class Section(BaseModel):
    """Unknown keys are errors, values do not change after loading, floats are finite, and whole
    numbers but a seed fit the 32 bits that horizons and rows are counted in."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, validate_default=True, allow_inf_nan=False
    )

    @field_validator("*")
    @classmethod
    def _countable(cls, value: Any, info: ValidationInfo) -> Any:
        numbers = value if isinstance(value, list) else [value]
        if info.field_name != "seed" and any(
            isinstance(number, int) and abs(number) > LARGEST for number in numbers
        ):
            raise ValueError(f"must be at most {LARGEST}")
        return value
