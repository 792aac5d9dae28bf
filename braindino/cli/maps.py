"""The verb `maps`: draw what an encoder's patch tokens see in scans, and print the files."""

from pathlib import Path

from braindino.verbs.opening import Device


def maps(
    *scans: Path,
    encoder: str,
    out: Path,
    voxel: tuple[int, int, int] | None = None,
    mm: tuple[float, float, float] | None = None,
    slices: int = 6,
    store: Path | None = None,
    strip_cmd: str | None = None,
    jobs: int = 1,
    batch_size: int = 64,
    device: Device = "auto",
    prepare: bool = False,
) -> int:
    """Draw a scan's patch tokens: components, likeness to a patch and to the CLS token.

    Writes `<scan>_maps.png`, and in the scan's native space `<scan>_pca.nii.gz` (three volumes, whitened over
    the foreground; viewers show them as red, green and blue), `<scan>_similarity.nii.gz` (cosine with the
    reference patch) and `<scan>_cls.nii.gz` (cosine of each patch with its slice's CLS token). Features are
    cached in the store: the same command continues where it was interrupted.

    Args:
        scans: scan files, or folders of them or of DICOM series, skull-stripped if the encoder needs it.
        encoder: a folder made by `braindino export`, a pretraining run, a file of weights, a timm name
            (`hub:NAME` fetches it).
        out: folder to write into.
        voxel: the reference patch, by a voxel of the scan, as `--voxel 88 120 40`; by default one in the
            middle of the brain.
        mm: the same by a position in the scan's space, as `--mm -12 5 30`.
        slices: number of slices in the picture.
        store: folder of prepared scans and their features; if omitted, `store` in the output folder, which is
            made.
        strip_cmd: skull-stripping command, such as `hd-bet -i {in} -o {out}`. A command that only the store
            names is not run.
        jobs: processes that prepare scans.
        batch_size: slices that go through the encoder at once.
        device: device that the encoder runs on.
        prepare: make the store that --store names, also where others lie near by.

    Returns:
        0, or 1 when some scans could not be drawn.
    """
    from braindino.verbs.maps import maps as draw

    result = draw(
        scans,
        encoder,
        out,
        voxel=voxel,
        mm=mm,
        slices=slices,
        store=store,
        strip_cmd=strip_cmd,
        jobs=jobs,
        batch_size=batch_size,
        device=device,
        prepare=prepare,
    )
    for files in result.drawn.values():
        print(f"{files.picture}; {', '.join(path.name for path in files.volumes.values())}")
    for reason in result.rejected:
        print(f"not drawn: {reason}")
    return 1 if result.rejected else 0
