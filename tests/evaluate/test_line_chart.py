"""Line charts are whole SVG pictures with every line and name in them."""

from __future__ import annotations

from xml.etree import ElementTree

from motion_transfer.evaluate.line_chart import Panel, line_chart

SVG = "{http://www.w3.org/2000/svg}"


def test_every_line_has_a_path_and_a_name() -> None:
    lines = {"one": [(0, 0.0), (1, 0.5)], "*chance": [(0, 0.1), (1, 0.1)]}
    panels = [Panel(title="a & b", x_name="block", lines=lines),
              Panel(title="c", x_name="weight", lines={"two": [(-1, -1.2), (0, 0.0), (1, 0.9)]})]  # fmt: skip
    picture = ElementTree.fromstring(line_chart(panels))
    texts = [text.text for text in picture.iter(f"{SVG}text")]
    assert {"a & b", "c", "one", "chance", "two", "block", "weight"} <= set(texts)
    lines = [path.get("d") for path in picture.iter(f"{SVG}path") if "L" in path.get("d")]
    assert [line.count("L") for line in lines] == [1, 1, 2]
    width, height = float(picture.get("width")), float(picture.get("height"))
    for line in lines:
        for point in line[1:].split("L"):
            x, y = map(float, point.split())
            assert 0 <= x <= width and 0 <= y <= height


def test_a_level_line_can_be_drawn() -> None:
    assert line_chart([Panel(title="one", x_name="block", lines={"a": [(3, 0.2)]})])
    assert "NaN" not in line_chart([Panel(title="flat", x_name="x", lines={"zero": [(0, 0.0), (1, 0.0)]})]).upper()
