"""The data sets of the recipe: where they were recorded, with which camera, and how often they are used.

Frames of one room are alike, so each place counts, not each frame: a set gets a share of the training samples.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class DataSet:
    """Pairs of images and depth.

    Attributes:
        name: the subfolder of the data.
        share: of the training samples that are not synthetic scenes; the shares are relative to each other.
        focal: relative focal length of the camera (see `cameras.py`), or None if each frame has another one, which is
            estimated from its depth.
        rendered: whether the images are rendered and the depth is exact.
    """

    name: str
    share: float
    focal: float | None = None
    rendered: bool = False


KINECT_FOCAL = 0.947  # 525 pixels at 480x640
REALSENSE_FOCAL = 1.11  # 615 pixels at 480x640

DATA_SETS = (
    # One office with two desks, a hall and a cabinet on a plain floor, by their published calibrations.
    DataSet("tum_fr1_rpy", 1.2, 0.933),
    DataSet("tum_fr1_xyz", 0.1, 0.933),
    DataSet("tum_fr1_desk", 0.4, 0.933),
    DataSet("tum_fr1_360", 0.3, 0.933),
    DataSet("tum_fr2_pioneer", 1.0, 0.94),
    DataSet("tum_fr3_cabinet", 0.6, 0.967),
    DataSet("aims_lab", 1.4, REALSENSE_FOCAL),
    DataSet("detect_planes_room", 0.5, REALSENSE_FOCAL),
    DataSet("skoltech_lab", 0.3, REALSENSE_FOCAL),
    DataSet("ycb_demo", 0.5, 1.925),  # three rooms through a long lens: 1,067 pixels at 480x640
    DataSet("cleargrasp_d435", 0.2, REALSENSE_FOCAL),
    DataSet("pcl_tutorials", 0.1, KINECT_FOCAL),
    # Rendered: a hospital (a field of view of 90 degrees), and rooms whose cameras differ from frame to frame.
    DataSet("tartanair_hospital", 1.2, 0.577, rendered=True),
    DataSet("render_grey_white_room", 1.0, rendered=True),
    DataSet("render_white_room", 1.0, rendered=True),
    DataSet("render_breakfast_room", 1.0, rendered=True),
    DataSet("render_country_kitchen", 1.0, rendered=True),
    DataSet("render_bedroom", 1.0, rendered=True),
    DataSet("render_contemporary_bathroom", 1.0, rendered=True),
    DataSet("render_salle_de_bain", 1.0, rendered=True),
    DataSet("render_wooden_staircase", 1.0, rendered=True),
    DataSet("render_modern_hall", 1.0, rendered=True),
    DataSet("render_japanese_classroom", 1.0, rendered=True),
    DataSet("render_veach_ajar", 0.8, rendered=True),
)

HELD_OUT: dict[str, tuple[str, ...]] = {
    "a": ("render_country_kitchen", "render_modern_hall", "detect_planes_room"),
    "b": ("render_bedroom", "render_wooden_staircase", "tum_fr2_pioneer"),
}
"""The sets that each split leaves out of training: two rendered rooms and one real place."""


def training_sets(split: str) -> list[DataSet]:
    """Return the sets that a split trains on."""
    return [dataset for dataset in DATA_SETS if dataset.name not in HELD_OUT[split]]


def sample_weights(lengths: dict[str, int], split: str, samples: int, real_factor: float = 1.0) -> dict[str, float]:
    """Return how often each sample of each training set is used in an epoch.

    Args:
        lengths: number of samples of each set.
        split: a key of `HELD_OUT`.
        samples: samples of all sets together in an epoch.
        real_factor: the shares of sets that are not rendered are multiplied by it.
    """
    shares = {
        dataset.name: dataset.share * (1 if dataset.rendered else real_factor) for dataset in training_sets(split)
    }
    total = sum(shares.values())
    return {name: samples * share / total / lengths[name] for name, share in shares.items()}
