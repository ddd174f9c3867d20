"""count, splits, explain and show_plan."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from typing import TYPE_CHECKING

import pytest

import hubflight
from conftest import READER

if TYPE_CHECKING:
    from flightserver import FlightServer

pytestmark = pytest.mark.server


def test_one_line_answers(server: FlightServer) -> None:
    near = {"server": server.url, "token": READER}
    assert hubflight.count("demo/flights", **near) == 6000
    assert hubflight.count("demo/flights", filters=[("hour", "<", 60)], **near) == 600
    assert {s["config"] for s in hubflight.splits("demo/chat", **near)} == {"7M-core", "gen"}
    assert hubflight.explain("demo/flights", limit=1, **near).files
    with pytest.raises(hubflight.InvalidOption, match="columns"):
        hubflight.count("demo/flights", colums=["a"], **near)
    with pytest.raises(hubflight.InvalidOption, match="unknown option 'revison': did you mean 'revision'"):
        hubflight.splits("demo/chat", revison="dev", **near)
    with pytest.raises(hubflight.InvalidOption, match="unknown option 'x': options of splits are revision, server"):
        hubflight.splits("demo/chat", x=1, **near)


def test_a_plan_is_drawn_with_a_box_for_each_row_group(server: FlightServer) -> None:
    picture = hubflight.show_plan("demo/flights", filters=[("hour", "<", 60)], server=server.url, token=READER)
    drawn = ET.fromstring(picture._repr_svg_())  # noqa: S314
    boxes = drawn.findall("{http://www.w3.org/2000/svg}rect")
    assert len(boxes) == 20
    assert sum(box.get("fill") == "#2a7" for box in boxes) == 2
    text = "".join(drawn.itertext())
    assert "2 of 20 row groups" in text
    assert "statistics" in text
    assert READER not in picture.svg()
