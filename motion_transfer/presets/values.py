"""What a preset holds: checked values, and one sentence where something does not fit."""

from __future__ import annotations

import dataclasses
import re
import reprlib
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, create_model

from motion_transfer.errors import MotionTransferError
from motion_transfer.types import RenderSpec, TuneSpec

FORMAT = 1
MAX_TEXT_LETTERS = 2000

_MAX_SHOWN_LETTERS = 60
MAX_LORAS = 4
_MAX_ID_LETTERS = 100
_PART = r"[A-Za-z0-9_][A-Za-z0-9._-]*"
_BASE = re.compile(rf"{_PART}(/{_PART})?")
_HUB = re.compile(rf"{_PART}/{_PART}@[0-9a-f]{{40}}")
_HASH = re.compile(r"[0-9a-f]{64}")
_TURNS = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}  # they show letters in another order


class BadPreset(MotionTransferError):
    """The preset is damaged, holds what a preset can't, or comes from another version."""


def shown(value: Any) -> str:
    """A value as a sentence quotes it: short and on one line."""
    text = reprlib.repr(value)
    return text if len(text) <= _MAX_SHOWN_LETTERS else f"{text[:_MAX_SHOWN_LETTERS]}…"


def _demand(met: bool, value: str) -> str:
    """Hands the value on if the demand is met; what was expected, each field's description says."""
    if not met:
        raise ValueError
    return value


def _text(value: str) -> str:
    return _demand(not any(unicodedata.category(c) == "Cc" and c not in "\t\n\r" for c in value), value)


def _line(value: str) -> str:
    bad = any(unicodedata.category(c) in ("Cc", "Zl", "Zp") or unicodedata.bidirectional(c) in _TURNS for c in value)
    return _demand(not bad, value)


def _name(value: str) -> str:
    return _demand(bool(value.strip()), _line(value))


def _hash(value: str) -> str:
    return _demand(bool(_HASH.fullmatch(value)), value)


def _base(value: str) -> str:
    return _demand(bool(_BASE.fullmatch(value)) and ".." not in value, value)


def _hub(value: str | None) -> str | None:
    return None if value is None else _demand(bool(_HUB.fullmatch(value)) and ".." not in value, value)


def _no_sign_on_zero(value: float) -> float:
    """Equal presets must have equal links, and -0.0 equals 0.0."""
    return value + 0.0


Text = Annotated[
    str,
    Field(max_length=MAX_TEXT_LETTERS, description=f"text of at most {MAX_TEXT_LETTERS} plain characters"),
    AfterValidator(_text),
]
Name = Annotated[
    str,
    Field(min_length=1, max_length=80, description="a line of 1 to 80 characters"),
    AfterValidator(_name),
]


class _Values(BaseModel):
    """Frozen values that take nothing unknown; `spoken` is what errors call them."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False, protected_namespaces=())
    spoken: ClassVar[str]

    def __init__(self, /, **values: Any) -> None:
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise BadPreset(self._sentence(error.errors(include_url=False)[0])) from error

    @classmethod
    def _sentence(cls, problem: Mapping[str, Any]) -> str:
        """The first thing that is wrong, in plain words."""
        name = (*problem["loc"], problem["input"])[0]  # a name that is no Unicode has no place, but is the input itself
        if name not in cls.model_fields:
            return (f"{cls.spoken} must hold only what this version knows, but {shown(name)} is unknown; "
                    "remove it or update the program.")  # fmt: skip
        expected = f"{name.replace('_', ' ')} of {cls.spoken} must be {cls.model_fields[name].description}"
        if problem["type"] == "missing":
            return f"{expected}, but is missing; add it."
        return f"{expected}, but is {shown(problem['input'])}; correct it."


def _limits(field: dataclasses.Field) -> dict[str, Any]:
    """A number's range, as pydantic and as errors put it."""
    low, high = field.metadata["low"], field.metadata["high"]
    kind = "a whole number" if isinstance(field.default, int) else "a number"
    return {"ge": low, "le": high, "description": f"{kind} from {low} to {high}"}


def _kind(field: dataclasses.Field) -> Any:
    """The pydantic type of one setting, from what the setting says about itself."""
    choices = field.metadata["choices"]
    if choices:
        return Annotated[Literal[choices], Field(description=f"one of {', '.join(choices)}")]  # type: ignore[valid-type]
    if isinstance(field.default, bool):
        return Annotated[bool, Field(description="true or false")]
    if isinstance(field.default, str):
        return Text
    if isinstance(field.default, int):
        return Annotated[int, Field(**_limits(field))]
    return Annotated[float, Field(**_limits(field)), AfterValidator(_no_sign_on_zero)]


def _settings(spec_class: type) -> Any:
    """A model with every setting of a spec: the same default, range and choices."""
    fields = {field.name: (_kind(field), field.default) for field in dataclasses.fields(spec_class)}
    name = f"{spec_class.__name__}Knobs"
    return create_model(name, __base__=_Values, __module__=__name__, **fields)  # type: ignore[call-overload]


_RenderKnobs: Any = _settings(RenderSpec)
_TuneKnobs: Any = _settings(TuneSpec)
_STRENGTH = _limits(RenderSpec.__dataclass_fields__["strength"])


class RenderSettings(_RenderKnobs):
    """The settings of one render."""

    spoken = "the render settings"


class TuneSettings(_TuneKnobs):
    """The settings of learning a motion."""

    spoken = "the tune settings"


class PresetLora(_Values):
    """One LoRA of a preset: found by its hash, never by its name; `hub` says where a copy of it is published."""

    spoken = "a LoRA in the preset"

    name: Name
    sha256: Annotated[str, Field(description="64 hex digits in lower case"), AfterValidator(_hash)]
    strength: Annotated[float, Field(**_STRENGTH), AfterValidator(_no_sign_on_zero)]
    hub: Annotated[
        str | None,
        Field(
            max_length=_MAX_ID_LETTERS + 41, description="owner/name@commit with a commit of 40 hex digits, or left out"
        ),
        AfterValidator(_hub),
    ] = None


class Preset(_Values):
    """Everything needed to make one render again, or to learn a motion with the same settings.

    It never holds a path, an address or anything of the machine it was made on. What is left out takes its default,
    so changing the default of a setting calls for a new format, with a migration that writes the old default out.

    Raises:
        BadPreset: something is missing, unknown or out of range.
    """

    spoken = "the preset"

    format: Annotated[int, Field(ge=FORMAT, le=FORMAT, description=str(FORMAT))] = FORMAT
    name: Name
    description: Annotated[
        str, Field(max_length=500, description="text of at most 500 plain characters"), AfterValidator(_text)
    ] = ""
    base: Annotated[
        str,
        Field(
            max_length=_MAX_ID_LETTERS,
            description=f"a name of at most {_MAX_ID_LETTERS} characters such as nano or owner/model, never a path",
        ),
        AfterValidator(_base),
    ]
    loras: Annotated[
        tuple[PresetLora, ...],
        Field(max_length=MAX_LORAS, strict=False, description=f"a list of at most {MAX_LORAS} LoRAs"),
    ] = ()
    render: Annotated[RenderSettings, Field(description="settings by name")] = RenderSettings()
    tune: Annotated[TuneSettings | None, Field(description="settings by name, or null")] = None
    credits: Annotated[
        str, Field(max_length=200, description="a line of at most 200 characters"), AfterValidator(_line)
    ] = ""

    @classmethod
    def of(
        cls,
        *,
        name: str,
        base: str,
        render: RenderSpec,
        tune: TuneSpec | None = None,
        loras: Sequence[PresetLora] = (),
        description: str = "",
        credits: str = "",
    ) -> Preset:
        """A preset of the program's own values.

        Raises:
            BadPreset: a name or a text can't be shared.
        """
        return cls(
            name=name,
            description=description,
            base=base,
            loras=tuple(loras),
            render=RenderSettings(**asdict(render)),
            tune=None if tune is None else TuneSettings(**asdict(tune)),
            credits=credits,
        )

    def render_spec(self) -> RenderSpec:
        """The settings of the render."""
        return RenderSpec(**self.render.model_dump())

    def tune_spec(self) -> TuneSpec | None:
        """The settings of learning the motion, if it has any."""
        return None if self.tune is None else TuneSpec(**self.tune.model_dump())

    def as_values(self) -> dict[str, Any]:
        """What JSON holds of it: the format, and all that differs from the defaults."""
        return {"format": self.format, **self.model_dump(mode="json", exclude_defaults=True)}
