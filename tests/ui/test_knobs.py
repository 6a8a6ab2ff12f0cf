"""Every setting of a spec gets a control that holds its default and keeps its range."""

from __future__ import annotations

import dataclasses

import gradio as gr
import pytest

from motion_transfer.errors import BadSpec
from motion_transfer.types import RenderSpec, TuneSpec
from motion_transfer.ui.knobs import control, controls, label_of, other_names, slider_step, spec_from

SETTINGS = [(spec, field) for spec in (TuneSpec, RenderSpec) for field in dataclasses.fields(spec)]


@pytest.mark.parametrize(("spec_class", "field"), SETTINGS, ids=lambda x: getattr(x, "name", None))
def test_every_setting_has_a_labelled_control_with_its_default(spec_class: type, field: dataclasses.Field) -> None:
    part = control(spec_class, field.name)
    assert part.value == field.default
    assert part.label and part.label[0].isupper() and part.info == field.metadata["help"]
    if isinstance(part, gr.Slider | gr.Number) and field.metadata["low"] is not None:
        assert (part.minimum, part.maximum) == (field.metadata["low"], field.metadata["high"])


@pytest.mark.parametrize(
    ("spec_class", "name", "kind"),
    [
        (TuneSpec, "head_rule", gr.Dropdown),
        (TuneSpec, "caption", gr.Textbox),
        (TuneSpec, "rank", gr.Slider),
        (TuneSpec, "temporal_steps", gr.Number),
        (TuneSpec, "temporal_rate", gr.Number),
        (RenderSpec, "strength", gr.Slider),
        (RenderSpec, "seed", gr.Number),
    ],
)
def test_the_kind_of_control_follows_the_range(spec_class: type, name: str, kind: type) -> None:
    assert type(control(spec_class, name)) is kind


@pytest.mark.parametrize(
    ("low", "high", "default", "step"),
    [(-4.0, 4.0, 1.0, 0.05), (0.05, 4.0, 1.0, 0.01), (0, 100, 1, 1), (0, 10, 0.5, 0.1)],
)
def test_slider_steps_reach_the_default(low: float, high: float, default: float, step: float) -> None:
    assert slider_step(low, high, default) == step


def test_labels_name_the_unit_once() -> None:
    fields = {field.name: field for field in dataclasses.fields(TuneSpec)}
    assert label_of(fields["spatial_steps"]) == "Spatial steps"
    assert label_of(fields["sparse_latents"]) == "Sparse latents (frames)"


def test_controls_and_specs_make_a_round_trip() -> None:
    values = {name: part.value for name, part in controls(TuneSpec, other_names(TuneSpec)).items()}
    assert spec_from(TuneSpec, values) == TuneSpec()


def test_whole_numbers_from_sliders_become_integers() -> None:
    assert spec_from(TuneSpec, {"rank": 4.0}).rank == 4
    assert isinstance(spec_from(TuneSpec, {"rank": 4.0}).rank, int)


@pytest.mark.parametrize(
    "values", [{"rank": None}, {"rank": 0}, {"rank": 2.5}, {"temporal_rate": float("nan")}, {"head_rule": "none"}]
)
def test_what_a_spec_refuses_is_a_sentence(values: dict[str, object]) -> None:
    with pytest.raises(BadSpec, match=next(iter(values)).replace("_", " ")):
        spec_from(TuneSpec, values)
