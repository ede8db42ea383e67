"""From a matplotlib figure to SVG that lives inside an HTML page: themed by CSS variables, small, the same bytes each time."""

from __future__ import annotations

import io
import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from contextlib import contextmanager

import matplotlib
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from markupsafe import Markup, escape

# Colours as CSS variables: name → (on light, on dark). A figure is drawn in the light colour, which then becomes var(--name);
# so every light colour occurs once.
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
# Twelve hues after Okabe & Ito (2008) and Tol (2021), told apart with the common colour-vision deficiencies.
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
# An ordered scale for hyper-parameters (cividis-like: light and dark ends both readable).
RAMP = {
    "r0": ("#123a74", "#5f8fd6"),
    "r1": ("#3a5f8a", "#7fa3c4"),
    "r2": ("#5f7d8c", "#9bb3ab"),
    "r3": ("#878f7c", "#b6bd8e"),
    "r4": ("#b09d5c", "#d3c66f"),
    "r5": ("#dba52f", "#f4d35e"),
}
TOKENS = THEME | GROUPS | RAMP

_STYLE = {
    "svg.fonttype": "none",  # text stays text: selectable, in the page's font, a tenth of the size
    "text.parse_math": False,  # a group may be called "$50k"
    "font.size": 11,
    "font.family": "DejaVu Sans",  # ships with matplotlib: the same layout on every machine
    "path.simplify": False,
    "axes.linewidth": 1,
    "axes.edgecolor": THEME["line"][0],
    "axes.labelcolor": THEME["muted"][0],
    "axes.facecolor": "none",
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.labelsize": 11,
    "grid.color": THEME["faint"][0],
    "grid.linewidth": 1,
    "text.color": THEME["ink"][0],
    "xtick.color": THEME["line"][0],
    "ytick.color": THEME["line"][0],
    "xtick.labelcolor": THEME["muted"][0],
    "ytick.labelcolor": THEME["muted"][0],
    "xtick.labelsize": 10.5,
    "ytick.labelsize": 10.5,
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
    """Gives an empty figure of `width` × `height` CSS pixels, styled for the page while the block lasts."""
    with matplotlib.rc_context(_STYLE):
        # 72 dpi: one unit of the SVG, one point and one CSS pixel are the same length.
        yield Figure(figsize=(width / 72, height / 72), dpi=72, facecolor="none")


def inline(fig: Figure, name: str, description: str) -> Markup:
    """Returns the figure as an <svg> element to be placed in HTML.

    Args:
      fig: made by `figure`.
      name: unique within the page; prefix of every id.
      description: what the figure shows, for those who do not see it.
    """
    buffer = io.BytesIO()
    with matplotlib.rc_context({**_STYLE, "svg.hashsalt": name}):
        FigureCanvasSVG(fig).print_svg(buffer, metadata={"Date": None})
    root = ET.fromstring(buffer.getvalue())
    width, height = root.attrib["viewBox"].split()[2:]
    used = {match for element in root.iter() for value in element.attrib.values() for _, match in _REFERENCE.findall(value)}
    for element in root.iter():
        _clean(element, name, used)
    for metadata in root.findall("metadata"):
        root.remove(metadata)
    body = "".join(ET.tostring(child, encoding="unicode") for child in root)
    body = re.sub(r">\s+<", "><", body).strip()
    return Markup(
        f'<svg viewBox="0 0 {float(width):g} {float(height):g}" style="max-width:{float(width) * 1.15:.0f}px" role="img" '
        f'aria-label="{escape(description)}">{body}</svg>'
    )


def _clean(element: ET.Element, name: str, used: set[str]) -> None:
    """Strips namespaces and unused ids, makes ids unique in the page, rounds coordinates, and lets CSS choose colours."""
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
        attributes[key] = _LONG_DECIMAL.sub(lambda match: f"{float(match[0]):.2f}".rstrip("0").rstrip("."), value)
    element.attrib.clear()
    element.attrib.update(attributes)
