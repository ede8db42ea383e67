"""How a phantom radiograph is drawn: a chest in continuous coordinates, an optional lesion, and an
acquisition.

numpy only, so that it runs inside grain's reader threads and worker processes. Everything is a
smooth function of the coordinates x (to the image's right, which is the patient's left) and y
(down), both in [-1, 1] over the image, so the same patient can be drawn at any size. Brightness is
attenuation, as in a digital radiograph: bone bright, air dark.
"""

from __future__ import annotations

import dataclasses
import functools
from types import SimpleNamespace

import numpy as np
from jaxtyping import Float, UInt8

Image = Float[np.ndarray, "h w"]

# What differs between patients: uniform in [low, high], in halves of the image's side unless a
# comment says otherwise.
ANATOMY = {
    "body_width": (0.86, 0.98),
    "shoulder_slope": (0.22, 0.42),
    "thickness": (0.46, 0.60),  # attenuation of soft tissue, of the display's range
    "air": (0.34, 0.44),  # attenuation that the lungs' air takes away
    "lung_x": (0.43, 0.48),
    "lung_y": (-0.06, 0.04),
    "lung_width": (0.33, 0.39),
    "lung_height": (0.74, 0.84),
    "diaphragm": (0.46, 0.60),
    "diaphragm_tilt": (0.00, 0.08),  # the liver lifts the right dome
    "dome": (0.08, 0.16),
    "heart_x": (0.10, 0.18),
    "heart_y": (0.26, 0.36),
    "heart_width": (0.27, 0.37),
    "heart_height": (0.20, 0.26),
    "mediastinum": (0.10, 0.15),
    "rib_spacing": (0.19, 0.24),
    "rib_phase": (0.0, 1.0),  # of the spacing
    "rib_slope": (0.10, 0.35),
    "rib_contrast": (0.05, 0.09),
    "clavicle_y": (-0.72, -0.60),
    "clavicle_slope": (-0.25, 0.05),
    "vessels": (0.7, 1.2),  # strength of the lungs' texture
    "breast": (0.03, 0.07),  # attenuation; drawn for women
}

# The lesion: drawn for every patient, painted only where its contrast is above zero, so that both
# images match.
LESION = {
    "side": (-1.0, 1.0),  # its sign: the patient's right or left lung
    "angle": (0.0, 2 * np.pi),
    "reach": (0.0, 1.0),  # squared distance from the lung's middle, of the way to its edge
    "radius": (0.10, 0.16),
    "elongation": (0.85, 1.18),
    "lobes": (2.0, 6.0),
    "lobe_phase": (0.0, 2 * np.pi),
}


@dataclasses.dataclass(frozen=True)
class Acquisition:
    """How one site's machine takes its images; ranges are drawn per image.

    Attributes:
      gain: (low, high) multiplies the attenuation.
      offset: (low, high) is added to it: exposure.
      gamma: of the display curve.
      noise: standard deviation of quantum noise at mid-grey, of the display's range; it grows with
        attenuation.
      blur: standard deviation of the detector's point spread, of half the image's side.
      collimation: widest border, of half the image's side, that the collimator may hide on each
        edge.
      marker: (x, y) of the bright lead letter, or None.
    """

    gain: tuple[float, float]
    offset: tuple[float, float]
    gamma: float
    noise: float
    blur: float
    collimation: float
    marker: tuple[float, float] | None = None


_LEFT, _RIGHT = (-0.84, -0.72), (0.80, -0.84)

SITES = {
    "A": Acquisition(
        (0.95, 1.05), (-0.03, 0.03), gamma=1.00, noise=0.022, blur=0.015, collimation=0.04
    ),
    "B": Acquisition(
        (0.85, 0.97),
        (0.02, 0.10),
        gamma=0.85,
        noise=0.028,
        blur=0.020,
        collimation=0.12,
        marker=_RIGHT,
    ),
    "C": Acquisition(
        (0.98, 1.08),
        (-0.05, 0.01),
        gamma=1.15,
        noise=0.025,
        blur=0.012,
        collimation=0.0,
        marker=_LEFT,
    ),
    "D": Acquisition(
        (0.90, 1.02), (-0.04, 0.06), gamma=1.05, noise=0.032, blur=0.024, collimation=0.18
    ),
}

_TEXTURE_WAVES = 24


def draw_ranges(
    rng: np.random.Generator, ranges: dict[str, tuple[float, float]]
) -> SimpleNamespace:
    """Draws one value per named range, in the table's order."""
    low, high = np.array(list(ranges.values())).T
    return SimpleNamespace(**dict(zip(ranges, rng.uniform(low, high).tolist())))


def draw_phantom(
    size: int,
    *,
    female: bool,
    site: str,
    contrast: float,
    anatomy: np.random.Generator,
    acquisition: np.random.Generator,
) -> UInt8[np.ndarray, "size size"]:
    """Draws one radiograph.

    Args:
      size: side in pixels.
      female: whether breast shadows are drawn.
      site: whose `Acquisition`, a key of `SITES`.
      contrast: attenuation at the middle of the lesion, of the display's range; 0 draws none.
      anatomy: randomness of the patient (the same for all of a patient's images).
      acquisition: randomness of this image.

    Returns:
      8-bit grey image.
    """
    chest, lesion = draw_ranges(anatomy, ANATOMY), draw_ranges(anatomy, LESION)
    texture = _texture(size, anatomy)
    x, y = _pose(size, acquisition)
    image = _chest(x, y, chest, texture, female)
    if contrast > 0:
        image += contrast * _lesion(x, y, chest, lesion, texture)
    return _acquire(image, x, y, SITES[site], acquisition)


def _sigmoid(z: Image) -> Image:
    return 0.5 + 0.5 * np.tanh(0.5 * z)


def _gauss(z: Image) -> Image:
    return np.exp(-0.5 * z * z)


@functools.cache
def _axis(size: int) -> Float[np.ndarray, " size"]:
    return ((np.arange(size) + 0.5) * (2 / size) - 1).astype(np.float32)


@functools.cache
def _waves(size: int) -> Float[np.ndarray, "size waves"]:
    """Cosine waves whose amplitude falls with frequency: noise in this basis looks like vessels and
    soft tissue.
    """
    frequency = np.arange(1, _TEXTURE_WAVES + 1)
    return (np.cos(np.pi / 2 * frequency * (_axis(size)[:, None] + 1)) / frequency**0.6).astype(
        np.float32
    )


@functools.cache
def _blur_matrix(size: int, width: float) -> Float[np.ndarray, "size size"]:
    kernel = _gauss((_axis(size)[:, None] - _axis(size)) / width)
    return (kernel / kernel.sum(1, keepdims=True)).astype(np.float32)


def _texture(size: int, rng: np.random.Generator) -> Image:
    waves = _waves(size)
    field = (
        waves @ rng.standard_normal((_TEXTURE_WAVES, _TEXTURE_WAVES), dtype=np.float32) @ waves.T
    )
    return field / field.std()


def _pose(size: int, rng: np.random.Generator) -> tuple[Image, Image]:
    """The chest's coordinates at each pixel: turned by up to 4 degrees, moved by up to 5 % and
    scaled by up to 5 %.
    """
    angle, right, down, scale = rng.uniform(
        (-0.07, -0.05, -0.05, 0.95), (0.07, 0.05, 0.05, 1.05)
    ).astype(np.float32)
    u, v = _axis(size)[None, :] - right, _axis(size)[:, None] - down
    cos, sin = np.cos(angle) / scale, np.sin(angle) / scale
    return cos * u + sin * v, cos * v - sin * u


def _chest(x: Image, y: Image, a: SimpleNamespace, texture: Image, female: bool) -> Image:
    """Attenuation of a healthy chest, of the display's range."""
    ax = np.abs(x)
    left = _sigmoid(x / 0.02)
    # Trunk with sloping shoulders, thicker in the middle and towards the abdomen.
    edge = a.body_width + 0.14 * _sigmoid((-0.45 - y) / 0.06)
    shoulders = -1.02 + a.shoulder_slope * np.maximum(ax - 0.18, 0)
    body = _sigmoid((edge - ax) / 0.015) * _sigmoid((y - shoulders) / 0.02)
    tissue = a.thickness * (1 - 0.35 * (x / edge) ** 2) + 0.06 * y + 0.012 * texture
    # Lungs: an ellipse on each side that narrows to the apex, cut off by the diaphragm's dome.
    lx = (ax - a.lung_x + 0.10 * np.maximum(-y, 0) ** 2) / a.lung_width
    radius = lx * lx + ((y - a.lung_y) / a.lung_height) ** 2
    dome = a.diaphragm + a.diaphragm_tilt * (left - 0.5) - a.dome * (1 - lx * lx)
    lung = _sigmoid((1 - radius) / 0.10) * _sigmoid((dome - y) / 0.02)
    # Heart, great vessels and spine are in front of the air.
    heart = ((x - a.heart_x) / a.heart_width) ** 2 + (
        (y - a.heart_y - 0.35 * (x - a.heart_x)) / a.heart_height
    ) ** 2
    middle = np.maximum(
        _sigmoid((1 - heart) / 0.16), _sigmoid((a.mediastinum - np.abs(x - 0.02)) / 0.02)
    )
    spine = 0.09 * _gauss(x / 0.06) * (1 + 0.25 * np.cos((2 * np.pi / 0.17) * y))
    trachea = 0.13 * _gauss(x / 0.045) * _sigmoid((-0.30 - y) / 0.05)
    # Lung markings spread from the hila.
    hila = _gauss((ax - 0.18) / 0.09) * _gauss((y - 0.02) / 0.16)
    markings = 0.10 * hila + a.vessels * (0.020 + 0.035 * _gauss((ax - 0.15) / 0.22)) * texture
    air = lung * (1 - 0.92 * middle)
    image = tissue + spine - trachea - air * (a.air - markings)
    # Ribs: behind, falling outwards; in front, fainter, rising outwards.
    cage = _sigmoid((1 - (ax / 0.84) ** 2 - ((y + 0.05) / 0.92) ** 2) / 0.05)
    turn = 2 * np.pi / a.rib_spacing
    behind = 0.5 + 0.5 * np.cos(
        turn * (y - a.rib_slope * ax + 0.25 * (ax - 0.45) ** 2) + 2 * np.pi * a.rib_phase
    )
    front = 0.5 + 0.5 * np.cos(turn * (y + 0.55 * ax - 0.30 * ax * ax) - 2 * np.pi * a.rib_phase)
    front *= _sigmoid((ax - 0.35) / 0.06)
    image += a.rib_contrast * cage * (behind**2 * (0.8 + 0.5 * ax) + 0.5 * front**2)
    clavicle = a.clavicle_y + a.clavicle_slope * (ax - 0.1) + 0.12 * (ax - 0.4) ** 2
    image += (
        0.13
        * _gauss((y - clavicle) / 0.030)
        * _sigmoid((ax - 0.08) / 0.02)
        * _sigmoid((0.80 - ax) / 0.03)
    )
    if female:
        breast = ((ax - 0.46) / 0.36) ** 2 + ((y - 0.34) / 0.30) ** 2
        image += a.breast * _sigmoid((1 - breast) / 0.15)
    return body * image


def _lesion(
    x: Image, y: Image, a: SimpleNamespace, lesion: SimpleNamespace, texture: Image
) -> Image:
    """A smooth-edged, lobed, textured opacity inside one lung; about 1 at its middle, 0 outside."""
    reach = 0.62 * np.sqrt(lesion.reach)
    cx = np.sign(lesion.side) * (a.lung_x + 0.04 + reach * a.lung_width * np.cos(lesion.angle))
    cy = -0.10 + reach * a.lung_height * 0.85 * np.sin(lesion.angle)
    dx, dy = (x - cx) * lesion.elongation, (y - cy) / lesion.elongation
    lobes = 1 + 0.12 * np.cos(round(lesion.lobes) * np.arctan2(dy, dx) + lesion.lobe_phase)
    distance = np.sqrt(dx * dx + dy * dy) / (lesion.radius * lobes)
    return _sigmoid((1 - distance) / 0.18) * (1 + 0.12 * texture)


def _acquire(
    image: Image, x: Image, y: Image, site: Acquisition, rng: np.random.Generator
) -> UInt8[np.ndarray, "h w"]:
    size = len(image)
    gain, offset = rng.uniform(*site.gain), rng.uniform(*site.offset)
    borders = rng.uniform(-site.collimation, site.collimation, 4).astype(np.float32)
    blur = _blur_matrix(size, site.blur)
    image = blur @ image @ blur.T
    image += (site.noise * (0.5 + np.maximum(image, 0))) * rng.standard_normal(
        image.shape, dtype=np.float32
    )
    image = np.clip(gain * image + offset + 0.06, 0, 1) ** site.gamma
    if site.collimation:
        u = _axis(size)
        edges = np.stack([u, -u, u, -u]) + np.maximum(borders[:, None], 0)
        inside = _sigmoid((1 - edges) / 0.01)  # (right, left, bottom, top; size)
        image *= (inside[0] * inside[1])[None, :] * (inside[2] * inside[3])[:, None]
    if site.marker:
        mx, my = site.marker
        image += 0.5 * ((np.abs(x - mx) < 0.035) & (np.abs(y - my) < 0.06))
    return np.clip(255 * image + 0.5, 0, 255).astype(np.uint8)
