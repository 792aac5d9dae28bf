import random
import re
import string

import pytest

from braindino.datasets.sequences import (
    UNKNOWN,
    bids_sequence,
    complex_part,
    is_localizer,
    parse_entities,
    recognise,
    sequence_in_name,
)


@pytest.mark.parametrize(
    ("name", "sequence"),
    [
        ("subject1_FLAIR", "FLAIR"),
        ("patient1_T2w", "T2w"),
        ("visit1_flair", "FLAIR"),
        ("p2_T2w", "T2w"),
        ("part1_t2", "T2w"),
        ("mt1234_FLAIR", "FLAIR"),
        ("mt1234", UNKNOWN),
        ("part1", UNKNOWN),
        ("cat2_t1", "T1w"),
        ("p12t1", UNKNOWN),
        ("IXI012-HH-1211-T1", "T1w"),
        ("IXI002-Guys-0828-PD", "PD"),
        ("BraTS-GLI-00000-000-t2f", "FLAIR"),
        ("BraTS-GLI-00000-000-t1n", "T1w"),
        ("BraTS2021_0_t1ce", "T1c"),
        ("UPENN-GBM-00001_11_T1GD", "T1c"),
        ("OAS1_0001_MR1_mpr-1_anon", "T1w"),
        ("MP-RAGE", "T1w"),
        ("t1_mprage_sag_p2_iso", "T1w"),
        ("t1_mprage_sag_iso_Gd", "T1c"),
        ("3D_T1_SPGR", "T1w"),
        ("sagT1MPRAGE", "T1w"),
        ("Ax T2 FSE", "T2w"),
        ("t2_tirm_tra_dark-fluid", "FLAIR"),
        ("T2_FLAIR", "FLAIR"),
        ("Ax_T1_FLAIR", "T1w"),
        ("t1_FLAIR", UNKNOWN),
        ("T1_T2", UNKNOWN),
        ("T2_to_T1", "T2w"),
        ("FLAIR_in_T1", "FLAIR"),
        ("t2_space_sag", "T2w"),
        ("T2*", "T2star"),
        ("t2_fl2d_tra_hemo", "T2star"),
        ("T1_map", UNKNOWN),
        ("sub-1_T1map", UNKNOWN),
        ("sub-1_UNIT1", "UNIT1"),
        ("MP2RAGE_UNI_Images", "UNIT1"),
        ("mp2rage_INV2", "MP2RAGE"),
        ("sub-1_inv-1_T1w", UNKNOWN),
        ("PD_001", UNKNOWN),
        ("PD_001_t1", "T1w"),
        ("ep2d_diff_3scan", "DWI"),
        ("sub-1_task-rest_bold", "BOLD"),
        ("TOF_3D", "MRA"),
        ("SWI", "SWI"),
        ("sub-1_space-T1w_FLAIR", "FLAIR"),
        ("sub-1_acq-T2_T1w", "T1w"),
        ("scan 7", UNKNOWN),
        ("t2_spc_da-fl_irprep_sag", "FLAIR"),
        ("t2_swi3d_tra_p2", "SWI"),
        ("T2_SWI", "SWI"),
        ("ADC_map", "ADC"),
        ("sub-strokecase0001_ses-0001_adc", "ADC"),
        ("UCSF-PDGM-0004_DTI_eddy_FA", UNKNOWN),
        ("mp2rage_T1_Images", UNKNOWN),
        ("WIP sT1W_3D_TFE SENSE", "T1w"),
        ("WIPT1W_3D_TFE", "T1w"),
        ("s3DT1", "T1w"),
        ("sT2W_FLAIR", "FLAIR"),
        ("Cor MPR", UNKNOWN),
        ("MPR Range[1]", UNKNOWN),
        ("t1_mpr_cor", "T1w"),
        ("Axial PD-T2 TSE", UNKNOWN),
        ("PD_001_T2", "T2w"),
        ("sub-01_dir-AP_epi", UNKNOWN),
        ("sub-01_task-rest_dir-AP_epi", "BOLD"),
    ],
)
def test_sequence_in_name_parses_words(name: str, sequence: str) -> None:
    assert sequence_in_name(name) == sequence


@pytest.mark.parametrize(
    ("name", "sequence"),
    [
        ("T1_post", "T1c"),
        ("patient1_pre_T1_gd", "T1c"),
        ("patient1_pre_T1", "T1w"),
        ("pre_t1gd", "T1c"),
        ("T1 W/O GAD", "T1w"),
        ("AX T1 FSE FS +C", "T1c"),
        ("T1-weighted contrast-enhanced", "T1c"),
        ("T1 NONCON", "T1w"),
        ("MPR_T1_post", "T1c"),
        ("t1_mprage_post", "T1c"),
        ("T1_post_op", "T1w"),
        ("t1_pre", "T1w"),
        ("T1_pre_contrast", "T1w"),
        ("T1+C", "T1c"),
        ("t1_non_contrast", "T1w"),
        ("T1_without_contrast", "T1w"),
        ("post_contrast_T1", "T1c"),
        ("t1_km", "T1c"),
        ("T1_C", "T1c"),
        ("C_T1w", "T1w"),
        ("T1_C001", "T1w"),
        ("sub-1_ses-post_T1w", "T1w"),
        ("sub-1_ce-gadolinium_T1w", "T1c"),
        ("sub-1_ce-none_T1w", "T1w"),
        ("sub-1_acq-gd_T1w", "T1c"),
        ("sub-1_ce-gadolinium_FLAIR", "FLAIRc"),
        ("FLAIR_gd", "FLAIRc"),
        ("post_T1w", "T1w"),
        ("T1 C-", "T1w"),
        ("T1_C-_sag", "T1w"),
        ("T1 C+", "T1c"),
        ("postGd_T1", "T1c"),
        ("postcontrast_T1", "T1c"),
        ("POST AX T1", "T1c"),
        ("pre_contrast_ax_T1", "T1w"),
    ],
)
def test_sequence_in_name_recognises_scans_after_contrast(name: str, sequence: str) -> None:
    assert sequence_in_name(name) == sequence


def test_sequence_in_name_does_not_depend_on_the_id() -> None:
    draw = random.Random(0)
    words = [
        "set",
        "cort",
        "fst",
        "irt",
        "tst",
        "pmpr",
        "subject",
        "patient",
        "visit",
        "part",
        "pat",
        "mt",
        "flairs",
        "cat",
        "ct",
        "pt",
        "set",
        "at",
        "T",
    ]
    ids = {f"{word}{number}" for word in words for number in (1, 2, 10, 12, 123)}
    ids |= {
        "".join(draw.choices(string.ascii_letters, k=draw.randint(1, 6)))
        + "".join(draw.choices(string.digits, k=draw.randint(1, 4)))
        for _ in range(1000)
    }
    ids = {name for name in ids if not re.match("(?i)t[12]|flair", name)}  # T1w1 and FLAIR2 are no ids
    assert len(ids) > 1000
    assert {name for name in ids if sequence_in_name(name) != UNKNOWN} == set()
    for name in ids:
        for sequence, word in (("T1w", "T1w"), ("FLAIR", "flair"), ("T2w", "t2"), ("T1c", "t1ce")):
            for text in (f"{name}_{word}", f"{word}_{name}", f"{name}-{word}", f"x {name} {word}"):
                assert sequence_in_name(text) == sequence, text


def test_recognise_returns_the_reason_for_unknown() -> None:
    assert recognise("scan7") == (UNKNOWN, "no sequence in its name")
    assert recognise("T1_T2") == (UNKNOWN, "T1w or T2w by its name")
    assert recognise("T1_map") == (UNKNOWN, "a quantitative map, by its name")
    assert recognise("sub-1_part-phase_T1w") == (UNKNOWN, "the phase of the signal, not its magnitude")
    assert recognise("sub-1_inv-2_MP2RAGE") == (UNKNOWN, "an inversion image (inv-2)")
    assert bids_sequence({"sub": "1", "inv": "1"}, "T1w")[0] == UNKNOWN


def test_parse_entities_returns_those_of_bids() -> None:
    assert parse_entities("sub-01_ses-2_acq-x_run-1_T1w") == {"sub": "01", "ses": "2", "acq": "x", "run": "1"}
    assert parse_entities("IXI012-HH-1211-T1") == {}
    assert parse_entities("mysub-01_T1w") == {}


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("sub-1_part-phase_T1w", "phase"),
        ("sub-1_part-mag_T1w", ""),
        ("sub-1_part-real_T2w", "real"),
        ("4_swi_e1_ph", "phase"),
        ("swi_imaginary", "imaginary part"),
        ("phase_1_T1w", ""),
        ("phase-contrast_T1", ""),
        ("Pha_Images", "phase"),
        ("Mag_Images", ""),
        ("t1_vibe_arterial_phase", ""),
    ],
)
def test_complex_part(name: str, part: str) -> None:
    assert complex_part(name) == part


@pytest.mark.parametrize(
    ("name", "localizer"),
    [
        ("localizer_41_ab12cd34", True),
        ("AAHead_Scout", True),
        ("3-plane loc", True),
        ("T1_localizer", True),
        ("Survey", True),
        ("AAHScout", True),
        ("3-pl T2* FGRE S", True),
        ("3 Plane Loc SSFSE", True),
        ("Cal Head 24", True),
        ("MPR Range", True),
        ("3-plane_T1", False),
        ("Cal_001_T1", False),
        ("sub-1_acq-scout_T1w", True),
        ("survey_001_T1", False),
        ("scout_01_T1w", False),
        ("loc_001_flair", False),
        ("locus1", False),
        ("t1_mprage", False),
    ],
)
def test_is_localizer(name: str, localizer: bool) -> None:
    assert is_localizer(name) == localizer
