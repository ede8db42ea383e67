"""Matplotlib figures as inline SVG: themed by CSS variables, small, the same bytes each time."""

from __future__ import annotations

import io
import re
import warnings
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import matplotlib
import matplotlib.style
from markupsafe import Markup, escape
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

# Colours as CSS variables: name → (on light, on dark). A figure is drawn in the light colour, which
# then becomes var(--name); so every light colour occurs once.
THEME = {
    "ink": ("#1b2430", "#e6eaf0"),
    "muted": ("#5b6776", "#9eabba"),
    "line": ("#d9dfe7", "#333e4c"),
    "faint": ("#eef1f5", "#222b37"),
    "paper": ("#ffffff", "#171e27"),
    "page": ("#f5f7fa", "#0f141b"),
    "accent": ("#1f5fa8", "#7db4f0"),
    "warn": ("#b3421c", "#f2936b"),
}
# Twelve hues after Okabe & Ito (2008) and Tol (2021), distinguishable with the common colour-vision
# deficiencies.
GROUPS = {
    "g0": ("#0072b2", "#4ba8e0"),
    "g1": ("#d55e00", "#f08a3c"),
    "g2": ("#009e73", "#2fc598"),
    "g3": ("#aa4499", "#d884c8"),
    "g4": ("#c98b00", "#f0bb3e"),
    "g5": ("#332288", "#9c8cf0"),
    "g6": ("#4aa3d0", "#8fd0f2"),
    "g7": ("#882255", "#d6729f"),
    "g8": ("#117733", "#63bf80"),
    "g9": ("#7d6b2b", "#c2ae62"),
    "g10": ("#cc6677", "#f09aa8"),
    "g11": ("#6b7280", "#b4bcc8"),
}
# An ordered scale for hyper-parameters: viridis, darkened so that its light end is seen on white.
RAMP = {
    "r0": ("#3d2a83", "#9a86f0"),
    "r1": ("#31688e", "#5fa0d8"),
    "r2": ("#1f9a8a", "#35c4b0"),
    "r3": ("#46ad5c", "#6fd47f"),
    "r4": ("#8fb92c", "#b9dd4c"),
    "r5": ("#d3b100", "#f2dc4a"),
}
TOKENS = THEME | GROUPS | RAMP

_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",  # text stays text: selectable, in the page's font, a tenth of the size
    "text.parse_math": False,  # a group may be called "$50k"
    "font.size": 12,
    "font.family": "DejaVu Sans",  # ships with matplotlib: the same layout on every machine
    "path.simplify": False,
    "axes.linewidth": 1,
    "axes.edgecolor": THEME["line"][0],
    "axes.labelcolor": THEME["muted"][0],
    "axes.facecolor": "none",
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.labelsize": 12,
    "grid.color": THEME["faint"][0],
    "grid.linewidth": 1,
    "text.color": THEME["ink"][0],
    "xtick.color": THEME["line"][0],
    "ytick.color": THEME["line"][0],
    "xtick.labelcolor": THEME["muted"][0],
    "ytick.labelcolor": THEME["muted"][0],
    "xtick.labelsize": 11,
    "ytick.labelsize": 11,
    "xtick.major.size": 3,
    "ytick.major.size": 3,
}
_VARIABLE = {light: f"var(--{name})" for name, (light, _) in TOKENS.items()}
_HEX = re.compile(r"#[0-9a-fA-F]{6}")
_LONG_DECIMAL = re.compile(r"-?\d+\.\d{3,}(?:e-?\d+)?")
_NAMESPACE = re.compile(r"\{[^}]*\}")
_REFERENCE = re.compile(r"(^|url\()#([\w-]+)")


def colour(token: str) -> str:
    """Returns the colour in which a figure must draw `token`."""
    return TOKENS[token][0]


@contextmanager
def figure(width: float, height: float) -> Iterator[Figure]:
    """Yields an empty figure of `width` × `height` CSS pixels, styled for the page."""
    with matplotlib.style.context(["default", _STYLE]):  # and not what the user's matplotlibrc says
        # 72 dpi: one unit of the SVG, one point and one CSS pixel are the same length.
        yield Figure(figsize=(width / 72, height / 72), dpi=72, facecolor="none")


def inline(fig: Figure, name: str, description: str) -> Markup:
    """Returns the figure as an <svg> element to be placed in HTML.

    Args:
      fig: figure of `figure`, whose block has not ended.
      name: unique within the page; prefix of every id.
      description: what the figure shows, for screen readers.
    """
    buffer = io.BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": name}), warnings.catch_warnings():
        # The browser chooses the font, and will have one.
        warnings.filterwarnings("ignore", "Glyph .* missing")
        FigureCanvasSVG(fig).print_svg(buffer, metadata={"Date": None})
    root = ET.fromstring(buffer.getvalue())
    width, height = root.attrib["viewBox"].split()[2:]
    used = {
        match
        for element in root.iter()
        for value in element.attrib.values()
        for _, match in _REFERENCE.findall(value)
    }
    for element in root.iter():
        _clean(element, name, used)
    for metadata in root.findall("metadata"):
        root.remove(metadata)
    body = "".join(ET.tostring(child, encoding="unicode") for child in root)
    body = re.sub(r">\s+<", "><", body).strip()
    view_box = f'viewBox="0 0 {float(width):g} {float(height):g}"'
    size = f'{view_box} style="max-width:{float(width) * 1.15:.0f}px"'
    return Markup(f'<svg {size} role="img" aria-label="{escape(description)}">{body}</svg>')


def _clean(element: ET.Element, name: str, used: set[str]) -> None:
    """Strips namespaces and unused ids, prefixes ids, rounds coordinates, leaves colours to CSS."""
    element.tag = _NAMESPACE.sub("", element.tag)
    attributes = {}
    for key, value in element.attrib.items():
        key = _NAMESPACE.sub("", key)
        if key == "id":
            if value in used:
                attributes["id"] = f"{name}-{value}"
            continue
        value = _HEX.sub(lambda match: _VARIABLE.get(match[0].lower(), match[0]), value)
        value = _REFERENCE.sub(rf"\1#{name}-\2", value)
        attributes[key] = _LONG_DECIMAL.sub(
            lambda match: f"{float(match[0]):.2f}".rstrip("0").rstrip("."), value
        )
    element.attrib.clear()
    element.attrib.update(attributes)
