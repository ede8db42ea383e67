"""Chest-radiograph phantoms of patients with sex, age and site, in which a disparity is planted and
therefore known.

The planted truth of the default `PhantomConfig`:

- `sex`: in women the lesion is fainter and the recorded label is wrong more often, so a model must
  do worse for them;
- `age`: nothing depends on it, so it carries no disparity;
- `site`: changes how the image is taken (exposure, noise, blur, collimation, lead marker) and
  nothing else.

A wrong label costs every model a known amount. Where the recorded label is flipped with probability
e, independently of all else, a score whose AUC against the true finding is A has, against the
recorded label and in expectation,

    1/2 + (A − 1/2) (P(finding | recorded) + P(no finding | none recorded) − 1)

(`recorded_auc`; Menon et al., Learning from corrupted binary labels via class-probability
estimation, ICML 2015, corollary 3): at the default prevalence of 0.4, A − 1/2 shrinks by 4 % for
men, 13 % for women. What the fainter lesion costs depends on the observer. One who knows where to
look, and compares the brightness there with that around it, has A = 0.998 at the men's contrast of
0.25, 0.989 at the women's of 0.19, and 0.966 and 0.837 at 0.14 and 0.07 (in women as in men; 3,000
phantoms each, `tests/datasets/test_phantoms.py`). What a linear probe of the encoder that ships
with fairjax has, `configs/pretrain_phantom.py` says.

Randomness goes by name and index: patient k and each of its images are the same in a cohort of any
size.
"""

from __future__ import annotations

import csv
import dataclasses
import functools
import io
import os
import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image

from fairjax.datasets.phantom_images import SITES, draw_phantom
from fairjax.utils.errors import UserError, lookup
from fairjax.utils.storage import atomic_write, write_text

SHARES: Mapping[str, Mapping[str, float]] = {
    "sex": {"female": 0.5, "male": 0.5},
    "age": {"20-59": 0.5, "60-89": 0.5},
    "site": {"A": 0.5, "B": 0.3, "C": 0.2},
}
PLANTED: Mapping[str, Mapping[str, Mapping[str, float]]] = {
    "sex": {"female": {"lesion_contrast": -0.06, "label_noise": 0.04}},
}
QUANTITIES = ("prevalence", "lesion_contrast", "label_noise")
MAX_IMAGES = 16

# One uniform number per patient and column; a new column takes a spare place, so that the others
# keep their values.
_DRAWS = ("sex", "age", "years", "site", "images", "finding", "flip", "contrast", *["spare"] * 8)
_COHORT, _ANATOMY, _ACQUISITION = range(3)  # streams of randomness


@dataclasses.dataclass(frozen=True)
class PhantomConfig:
    """What a cohort of phantoms is drawn from; JSON by `dataclasses.asdict`.

    Attributes:
      n_patients: patients in the cohort.
      images_per_patient: (fewest, most) images of one patient, equally likely; at most 16.
      image_size: side in pixels.
      seed: of everything.
      shares: attribute → group → share of the patients, for `sex` (female, male), `age` (groups are
        ranges of whole years such as "20-59", both ends included) and `site` (keys of
        `phantom_images.SITES`); an attribute that is left out keeps its default.
      prevalence: probability that a patient has the lesion.
      lesion_contrast: mean attenuation of the lesion, of the display's range; a patient's own is
        0.7 to 1.3 times that.
      label_noise: probability that a patient's recorded label is the opposite of the truth.
      planted: attribute → group → quantity → difference, added to `prevalence`, `lesion_contrast`
        or `label_noise` for the patients of that group; the differences of several attributes add
        up.
    """

    n_patients: int = 3200
    images_per_patient: tuple[int, int] = (1, 2)
    image_size: int = 64
    seed: int = 0
    shares: Mapping[str, Mapping[str, float]] = dataclasses.field(default_factory=lambda: SHARES)
    prevalence: float = 0.4
    lesion_contrast: float = 0.25
    label_noise: float = 0.02
    planted: Mapping[str, Mapping[str, Mapping[str, float]]] = dataclasses.field(
        default_factory=lambda: PLANTED
    )

    def __post_init__(self):
        shares = {**SHARES, **self.shares}
        plain = {
            "images_per_patient": tuple(self.images_per_patient),
            "shares": {attribute: dict(sorted(shares[attribute].items())) for attribute in shares},
            "planted": {
                a: {g: dict(shifts) for g, shifts in groups.items()}
                for a, groups in self.planted.items()
            },
        }
        for name, value in plain.items():  # plain and in order: equal JSON, equal cohort
            object.__setattr__(self, name, value)
        _check(self)


def cohort(config: PhantomConfig) -> dict[str, np.ndarray]:
    """Draws the table of a cohort, one row per image.

    Returns:
      Columns (n_images,), patient by patient: `image` and `patient` (names), `sex`, `age` (years),
      `site`, `label` (as recorded, 0 or 1), `true_label` (1 where there is a lesion),
      `lesion_contrast` (of the display's range; 0 where there is none).
    """
    table = _patients(config, 0, config.n_patients)
    counts = table.pop("images")
    table["lesion_contrast"] *= table["true_label"]
    row_n = np.repeat(np.arange(config.n_patients), counts)
    view_n = np.arange(len(row_n)) - np.repeat(np.cumsum(counts) - counts, counts)
    patients = np.array([f"p{patient:06d}" for patient in range(config.n_patients)])
    images = np.array([f"{patients[row]}-{view}" for row, view in zip(row_n, view_n)])
    return {
        "image": images,
        "patient": patients[row_n],
        **{name: column[row_n] for name, column in table.items()},
    }


def render(
    config: PhantomConfig, image: str, *, lesion: bool | None = None
) -> UInt8[np.ndarray, "size size"]:
    """Draws one image of a cohort.

    Args:
      config: the cohort's.
      image: its name in the column `image`.
      lesion: None draws the patient as it is; True or False the same image with or without the
        lesion.

    Returns:
      8-bit grey image (image_size, image_size).

    Raises:
      UserError: the cohort has no such image.
    """
    name = re.fullmatch(r"p(\d+)-(\d+)", image)
    patient, view = map(int, name.groups()) if name else (config.n_patients, 0)
    row = {column: values[0] for column, values in _patients(config, patient, patient + 1).items()}
    if patient >= config.n_patients or view >= row["images"]:
        raise UserError(
            f"no phantom is called {image!r}: names are p<patient>-<view>, of {config.n_patients} "
            "patients"
        )
    return draw_phantom(
        config.image_size,
        female=row["sex"] == "female",
        site=row["site"],
        contrast=float(row["lesion_contrast"])
        * bool(row["true_label"] if lesion is None else lesion),
        anatomy=_rng(config, _ANATOMY, patient),
        acquisition=_rng(config, _ACQUISITION, patient * MAX_IMAGES + view),
    )


def write(config: PhantomConfig, folder: str | os.PathLike) -> Path:
    """Writes a cohort as `images/*.png` and `metadata.csv` (the columns of `cohort`, `image` as a
    path below `folder`).

    Returns:
      The path of `metadata.csv`, which is written last.
    """
    table = cohort(config)
    paths = [f"images/{image}.png" for image in table["image"]]
    for image, path in zip(table["image"], paths):
        picture = Image.fromarray(render(config, image))
        atomic_write(Path(folder) / path, functools.partial(picture.save, format="PNG"))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(table)
    writer.writerows(
        zip(paths, *(column.tolist() for name, column in table.items() if name != "image"))
    )
    metadata = Path(folder) / "metadata.csv"
    write_text(metadata, text.getvalue())
    return metadata


def recorded_auc(auc: float, prevalence: float, label_noise: float) -> float:
    """The AUC against recorded labels of a score whose AUC against the true finding is `auc`
    (module docstring).
    """
    right = prevalence * (1 - label_noise), (1 - prevalence) * (1 - label_noise)
    wrong = (1 - prevalence) * label_noise, prevalence * label_noise
    purity = sum(r / (r + w) for r, w in zip(right, wrong) if r + w)
    return 0.5 + (auc - 0.5) * (purity - 1)


def _patients(config: PhantomConfig, start: int, stop: int) -> dict[str, np.ndarray]:
    """Columns of patients `start` … `stop` − 1; `lesion_contrast` is what the lesion has, or would
    have.
    """
    steps = start * len(_DRAWS) // 4  # Philox makes four numbers a step
    rng = np.random.Generator(np.random.Philox(key=(config.seed, _COHORT)).advance(steps))
    draws = dict(zip(_DRAWS, rng.random((stop - start, len(_DRAWS))).T))
    groups = {
        attribute: _choose(shares, draws[attribute]) for attribute, shares in config.shares.items()
    }
    ages = np.array([_age_range(group) for group in groups["age"]])  # (n, 2)
    fewest, most = config.images_per_patient
    quantity = {name: _quantity(config, name, groups) for name in QUANTITIES}
    finding = draws["finding"] < quantity["prevalence"]
    return {
        "sex": groups["sex"],
        "age": (ages[:, 0] + draws["years"] * (ages[:, 1] - ages[:, 0] + 1)).astype(np.int64),
        "site": groups["site"],
        "images": fewest + (draws["images"] * (most - fewest + 1)).astype(np.int64),
        "label": (finding ^ (draws["flip"] < quantity["label_noise"])).astype(np.int64),
        "true_label": finding.astype(np.int64),
        "lesion_contrast": quantity["lesion_contrast"] * (0.7 + 0.6 * draws["contrast"]),
    }


def _choose(shares: Mapping[str, float], uniform_n: Float[np.ndarray, " n"]) -> np.ndarray:
    bounds = np.cumsum(list(shares.values()))[:-1]
    return np.array(list(shares))[np.searchsorted(bounds, uniform_n, side="right")]


def _quantity(
    config: PhantomConfig, name: str, groups: Mapping[str, np.ndarray]
) -> Float[np.ndarray, " n"]:
    value_n = np.full(len(groups["sex"]), getattr(config, name))
    for attribute, planted in config.planted.items():
        for group, shifts in planted.items():
            value_n += shifts.get(name, 0.0) * (groups[attribute] == group)
    return value_n


def _rng(config: PhantomConfig, stream: int, index: int) -> np.random.Generator:
    """The generator of one thing: Philox keyed by seed and stream, at a counter that no other index
    reaches.
    """
    return np.random.Generator(
        np.random.Philox(key=(config.seed, stream), counter=(0, index, 0, 0))
    )


def _age_range(group: str) -> tuple[int, int]:
    match = re.fullmatch(r"(\d+)-(\d+)", group)
    low, high = map(int, match.groups()) if match else (1, 0)
    if low > high:
        raise UserError(
            f"phantom shares: age group {group!r} is no range of whole years like '20-59'"
        )
    return low, high


def _check(config: PhantomConfig) -> None:
    """Refuses what cannot be drawn, naming the field."""
    groups_of = {"sex": ("female", "male"), "age": config.shares["age"], "site": SITES}
    for attribute, shares in config.shares.items():
        known = lookup("phantom attribute", attribute, groups_of)
        for group in shares:
            lookup(f"phantom {attribute}", group, dict.fromkeys(known))
        _within(f"the sum of shares.{attribute}", sum(shares.values()), 1, 1)
    for group in config.shares["age"]:
        _age_range(group)
    for attribute, planted in config.planted.items():
        groups = lookup("phantom attribute", attribute, config.shares)
        for group, shifts in planted.items():
            lookup(f"phantom {attribute}", group, groups)
            for quantity in shifts:
                lookup("phantom quantity", quantity, dict.fromkeys(QUANTITIES))
    for quantity in QUANTITIES:
        shifts_ag = [
            [planted.get(group, {}).get(quantity, 0.0) for group in config.shares[attribute]]
            for attribute, planted in config.planted.items()
        ]
        for extreme in (min, max):
            value = getattr(config, quantity) + sum(extreme(shifts_g) for shifts_g in shifts_ag)
            _within(f"{quantity} in some group", value, 0, 1)
    fewest, most = config.images_per_patient
    _within("images_per_patient[1]", most, 1, MAX_IMAGES)
    _within("images_per_patient[0]", fewest, 1, most)
    _within("n_patients", config.n_patients, 1, 10**6)
    _within("image_size", config.image_size, 16, 1024)
    _within("seed", config.seed, 0, 2**63)


def _within(name: str, value: float, low: float, high: float) -> None:
    if not low - 1e-9 <= value <= high + 1e-9:
        raise UserError(f"phantoms: {name} is {value:g}, but must lie between {low} and {high}")
