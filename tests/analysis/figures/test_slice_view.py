"""Test the orientation and proportions with which slices are shown."""

import numpy as np
import pytest
from matplotlib.figure import Figure

from braindino.analysis.figures.slice_view import (
    SliceView,
    foreground,
    mark_sides,
    views_from_arrays,
    views_to_arrays,
)


def grid(rows, columns):
    """An affine whose rows and columns run along the given directions [mm]."""
    affine = np.eye(4)
    affine[:3, 1], affine[:3, 2] = rows, columns
    return affine


@pytest.mark.parametrize(
    ("rows", "columns", "aspect", "sides", "upright"),
    [
        ((0, 3, 0), (2, 0, 0), 1.5, "LRPA", True),  # RAS, axial: the front is up, the left is left
        ((0, -3, 0), (2, 0, 0), 1.5, "LRPA", False),  # rows run backwards: drawn from the top
        ((0, 1, 0), (-1, 0, 0), 1.0, "RLPA", True),
        ((0, 0, 2), (0, -1, 0), 2.0, "APIS", True),  # sagittal
        ((0.2, 0.98, 0), (0.98, -0.2, 0), 1.0, "LRPA", True),  # oblique: the nearest side
    ],
)
def test_slice_view_of_an_affine(rows, columns, aspect, sides, upright):
    view = SliceView.of(grid(rows, columns))
    assert view.aspect == pytest.approx(aspect, rel=0.01)
    assert (view.sides, view.upright) == (sides, upright)


def test_slice_view_marks_no_side_without_orientation_in_the_header():
    view = SliceView.of(grid((0, 3, 0), (2, 0, 0)), placed=False)
    assert (view.sides, view.aspect) == ("????", 1.5)
    axis = Figure().subplots()
    mark_sides(axis, view)
    assert len(axis.texts) == 0
    mark_sides(axis, SliceView(sides="LRPA"))
    assert [text.get_text() for text in axis.texts] == list("LRPA")


def test_slice_view_extent_covers_the_slice_either_way_up():
    assert SliceView().extent((4, 6)) == (-0.5, 5.5, -0.5, 3.5)
    assert SliceView(upright=False).extent((4, 6)) == (-0.5, 5.5, 3.5, -0.5)
    assert SliceView(aspect=1.5).height((4, 6)) == 1.0


def test_views_from_arrays_reads_current_and_older_files():
    views = [SliceView(1.5, "LRPA", True), SliceView(1.0, "????", False)]
    assert views_from_arrays(views_to_arrays(views), 2) == views
    assert views_from_arrays({"upright": np.array(True)}, 2) == [SliceView()] * 2
    assert views_from_arrays({}, 1) == [SliceView()]


def test_foreground_includes_enclosed_pixels_of_the_background_value():
    image = np.zeros((7, 7))
    image[1:6, 1:6] = 3
    image[3, 3] = 0  # a voxel of the mean, stored as the background is
    shown = foreground(image)
    assert shown.sum() == 25
    assert shown[3, 3]
    assert not shown[0, 0]
