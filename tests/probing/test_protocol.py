"""Test the options of the protocol."""

from typing import Any

import pytest

from braindino.errors import BraindinoError
from braindino.probing import Protocol


@pytest.mark.parametrize(
    ("baselines", "names"), [(True, ()), (False, ()), ("unet", ("unet",)), (["unet", "no_tokens"],) * 2]
)
def test_protocol_reads_names_of_baselines(baselines: Any, names: Any) -> None:
    assert Protocol(baselines=baselines).named_baselines == tuple(names)


@pytest.mark.parametrize(
    ("baselines", "named"), [("u-net", "'u-net'"), ([], r"\[\]"), (["unet", "unet"], r"\['unet', 'unet'\]")]
)
def test_protocol_refuses_names_of_baselines(baselines: Any, named: str) -> None:
    expected = rf"probe\.baselines {named}: expected true, false, or names, each once, out of age_sex_site, "
    with pytest.raises(BraindinoError, match=expected):
        Protocol(baselines=baselines)
