"""Cases in memory: the same numbers as one by one, whatever is pooled beforehand."""

import pandas as pd
import pytest
import torch

from braindino.probing import ClassificationHead, GatedAttentionPooling, MeanPooling
from braindino.probing.data.base import running_moments
from braindino.probing.data.cases import CaseFeatures, ProbeCases


class SliceBySlice(MeanPooling):
    trains_on_slices = True


def features_of(data, depths=(3,)):
    torch.manual_seed(0)
    keys = [key for name in data.modalities for key in data.cases[f"key_{name}"] if key]
    return {key: torch.randn(depths[number % len(depths)], 4) for number, key in enumerate(keys)}


@pytest.mark.parametrize("depths", [(3,), (3, 5, 2)])
def test_case_features_pooled_at_once_equal_those_pooled_in_the_loop(planted, depths):
    data = planted()
    cases = ProbeCases.of(data, ClassificationHead(), "mask")
    features = features_of(data, depths)
    everyone = torch.arange(len(cases.table))
    pooled, in_loop = [], []
    for pooling, result in ((MeanPooling(), pooled), (SliceBySlice(), in_loop)):
        bank = CaseFeatures(cases, features, pooling)
        batch = bank.batch(everyone)
        result += [batch["features"].shape, pooling(batch["features"], batch["mask"])]
    assert pooled[0] == (90, 2, 1, 4)
    assert in_loop[0] == (90, 2, max(depths), 4)
    torch.testing.assert_close(pooled[1], in_loop[1])
    row = cases.table.iloc[1]
    expected = (features[row["key_T1w"]].mean(0) + features[row["key_T2w"]].mean(0)) / 2
    torch.testing.assert_close(pooled[1][1], expected)


def test_case_features_batch_has_features_mask_and_target_of_each_case(planted):
    data = planted()
    cases = ProbeCases.of(data, ClassificationHead(), "mask")
    features = features_of(data, (3, 5))
    bank = CaseFeatures(cases, features, GatedAttentionPooling())
    batch = bank.batch(torch.tensor([8, 7]))
    assert batch["target"].tolist() == [8 % 3, 7 % 3]
    assert not batch["mask"][1, 1].any()  # every seventh case lacks the second modality
    scan = features[cases.table.loc[8, "key_T2w"]]
    assert torch.equal(batch["features"][0, 1, : len(scan)], scan)
    assert batch["mask"][0, 1].sum() == len(scan)


def test_batches_cover_all_cases_in_an_order_of_the_seed(planted):
    data = planted()
    bank = CaseFeatures(ProbeCases.of(data, ClassificationHead(), "mask"), features_of(data), MeanPooling())
    some = torch.arange(0, 90, 2)

    def passes(seed):
        loader = bank.loader(some, 7, shuffle=seed)
        assert len(loader) == 7
        return [torch.cat([batch["case"] for batch in loader]).tolist() for _ in range(2)]

    first, second = passes(0)
    assert sorted(first) == some.tolist()
    assert first != second
    assert passes(0) == [first, second]
    assert passes(1)[0] != first
    assert [batch["case"].tolist() for batch in bank.loader(some, 45)] == [some.tolist()]


def test_probe_cases_of_excludes_unusable_cases(planted):
    data = planted()
    data.cases.loc[5, ["key_T1w", "key_T2w"]] = ""
    data.cases.loc[6, "split"] = "none"
    masked = ProbeCases.of(data, ClassificationHead(), "mask")
    assert masked.excluded.values.tolist() == [["case005", "no scan"], ["case006", "in no part of the split"]]
    assert not {"case005", "case006"} & set(masked.table["case"])
    dropped = ProbeCases.of(data, ClassificationHead(), "drop")
    assert (dropped.table[["key_T1w", "key_T2w"]] != "").all(axis=None)
    assert dropped.digest != masked.digest
    assert dropped.excluded["reason"].value_counts().to_dict() == {
        "no T2w (probe.missing: drop)": 13,
        "no T1w (probe.missing: drop)": 1,
        "in no part of the split": 1,
    }


def test_probe_cases_labelled_is_nested_and_balanced(planted):
    cases = ProbeCases.of(planted(), ClassificationHead(), "mask")
    tenth, half = cases.labelled(0.1, 0), cases.labelled(0.5, 0)
    assert set(tenth["case"]) < set(half["case"]) < set(cases.part("train")["case"])
    assert half["target"].value_counts().tolist() == [9, 9, 9]
    assert set(tenth["target"]) == {0, 1, 2}
    pd.testing.assert_frame_equal(half, cases.table.loc[half.index])


def test_running_moments_of_present_slices(planted):
    data = planted()
    cases = ProbeCases.of(data, ClassificationHead(), "mask")
    features = {key: 5.0 + 1e-6 * value for key, value in features_of(data, (3, 5, 2)).items()}
    for values in features.values():
        values[:, 0] = 3.0
    bank = CaseFeatures(cases, features, SliceBySlice())
    rows = cases.table.iloc[[0, 1, 8]]  # case 0 has one scan only
    present = torch.cat([features[key] for key in [*rows["key_T1w"], *rows["key_T2w"]] if key]).double()
    sample = bank.sample(torch.tensor([0, 1, 8]))
    mean, spread = running_moments(batch["features"][batch["mask"]] for batch in sample)
    torch.testing.assert_close(mean, present.mean(0).float())
    torch.testing.assert_close(spread[1:], present.std(0, correction=0).float()[1:], rtol=1e-4, atol=0)
    assert spread[0] == 1


def test_probe_cases_digest_with_missing_ages(planted):
    data = planted()
    before = ProbeCases.of(data, ClassificationHead(), "mask").digest
    data.cases["age"] = data.cases["age"].where(data.cases.index > 3)
    after = ProbeCases.of(data, ClassificationHead(), "mask").digest
    assert after != before
    assert after == ProbeCases.of(data, ClassificationHead(), "mask").digest
