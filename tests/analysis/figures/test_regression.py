"""Test that large scatter plots stay small."""

import re

from braindino.analysis.figures.regression import scatter_figure
from tests.helpers.data_uris import decode_svg
from tests.helpers.predictions import regression


def test_scatter_figure_draws_many_points_as_one_picture():
    table = regression(cases=9000).query("split == 'test'")
    source = scatter_figure({"many": [table]}, {"many": (0.7, 20.0)}, "years")
    assert len(source) < 300_000
    assert re.search(r'href="data:image/png;base64', decode_svg(source))
