"""What the card of a model must say, by its task, so that whoever reads it may rely on it."""

from itertools import pairwise
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    FiniteFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    TypeAdapter,
    ValidationError,
    model_validator,
)

from ..conventions import ConventionError
from ..pieces.validity import IMAGES, LAYERS, PHASES, SIMULATION

Ends = tuple[FiniteFloat, FiniteFloat]


def _least_first(ends: Ends) -> Ends:
    if not 0 <= ends[0] <= ends[1]:
        msg = "the least and the most are needed, both at least 0"
        raise ValueError(msg)
    return ends


def _rising(values: list[float]) -> list[float]:
    if any(b <= a for a, b in pairwise(values)):
        msg = "they must increase"
        raise ValueError(msg)
    return values


_Ends = Annotated[Ends, AfterValidator(_least_first)]
_Voltages = Annotated[list[PositiveFloat], Field(min_length=1), AfterValidator(_rising)]
_Share = Annotated[float, Field(ge=0, le=1)]


class _Grey(BaseModel):
    quantiles: Annotated[tuple[_Share, _Share], AfterValidator(_least_first)]


class _Knots(BaseModel):
    given: Annotated[list[FiniteFloat], Field(min_length=2), AfterValidator(_rising)]
    made: list[FiniteFloat]

    @model_validator(mode="after")
    def _check(self) -> Self:
        if len(self.made) != len(self.given):
            msg = f"as many are made as are given, {len(self.given)}"
            raise ValueError(msg)
        return self


class _Condition(BaseModel):
    voltages: list[float]
    misplaced: float
    on_slices: float


class _WindowErrors(BaseModel):
    misplaced: float
    conditions: list[_Condition] = []


class _PhaseErrors(BaseModel):
    misplaced: float
    between: float | None = None


class _Card(BaseModel):
    """What cards of all tasks say; more may stand there."""

    model_config = ConfigDict(extra="allow")

    name: str
    voltages: Any
    pixel_size: Any
    thickness: Any
    gap: Any
    materials: Any
    electrons_per_pixel: _Ends | None
    architecture: dict[str, Any]
    halo: NonNegativeInt
    stride: PositiveInt
    temperature: PositiveFloat
    errors: Any
    licence: str
    sha256: str
    used_with_sha256: str | None = None
    training: dict[str, Any] = {}
    adapted: dict[str, Any] = {}


class _WindowCard(_Card):
    task: Literal["windows"]
    voltages: _Voltages
    pixel_size: _Ends
    thickness: _Ends
    gap: _Ends
    materials: dict[str, Any]
    other_materials: list[dict[Literal["pore", "solid"], str]] = []
    solid_fraction: _Ends | None = None
    resampled: dict[Literal["pixel_size", "thickness"], _Ends] = {}
    grey: _Grey | None = None
    grey_map: list[_Knots] | None = None
    errors: _WindowErrors

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.architecture.get("voltages") != len(self.voltages):
            msg = f"its network sees {self.architecture.get('voltages')} voltages"
            raise ValueError(msg)
        if self.grey_map and len(self.grey_map) != len(self.voltages):
            msg = f"grey_map has {len(self.grey_map)} voltages; voltages has {len(self.voltages)}"
            raise ValueError(msg)
        return self


class _PhaseCard(_Card):
    task: Literal["phases"]
    thickness: _Ends
    gap: _Ends
    errors: _PhaseErrors


class _ImageCard(_Card):
    task: Literal["simulation"]
    voltages: _Ends
    pixel_size: _Ends
    aspect: PositiveFloat
    materials: dict[Literal["pore", "solid"], list[str]]
    errors: dict[str, Any]


class _LayerCard(_Card):
    task: Literal["layers"]
    noise: _Ends
    errors: dict[str, Any]


_ANY: TypeAdapter[_Card] = TypeAdapter(
    Annotated[_WindowCard | _PhaseCard | _ImageCard | _LayerCard, Field(discriminator="task")]
)


def check_card(card: object, place: str) -> None:
    """Refuse a card that does not say what a model is used with.

    Raises
    ------
    ConventionError
        Naming the keys that are missing, or the first whose value cannot be, and the place.
    """
    try:
        _ANY.validate_python(card)
    except ValidationError as error:
        msg = (
            f"the card of a model must say all that it is used with; {place} {_first_fault(error)}"
        )
        raise ConventionError(msg) from None


def _first_fault(error: ValidationError) -> str:
    found = error.errors()
    if missing := sorted(str(one["loc"][-1]) for one in found if one["type"] == "missing"):
        return f"has no {', '.join(missing)}"
    if found[0]["type"] in ("union_tag_not_found", "union_tag_invalid"):
        return f"has no task of {IMAGES}, {PHASES}, {SIMULATION} and {LAYERS}"
    key = ".".join(map(str, found[0]["loc"][1:]))
    if not key:  # of what does not go together, or no table at all
        return f"cannot be: {found[0]['msg']}"
    return f"has no fitting {key}: {found[0]['msg']}; got {found[0]['input']!r}"
