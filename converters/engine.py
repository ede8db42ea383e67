"""The engine: a checkpoint by a table of rules, with nothing lost, guessed or filled twice.

A rule's names hold placeholders `{i}`, `{j}` for numbers: `blocks.{i}.ln.weight` ->
`encoder.blocks.{i}.norm.scale`.
"""

from __future__ import annotations

import dataclasses
import difflib
import re
from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from typing import Any

import numpy as np

from fairjax.converters.transforms import FUSE, FUSE_LINEAR, IDENTITY, LINEAR, Transform
from fairjax.utils.errors import UserError

Shape = tuple[int, ...]
Shapes = Mapping[str, Shape]
MAX_LISTED = 100  # faults of one kind in a message


@dataclasses.dataclass(frozen=True)
class Rule:
    """Source name or names -> one target name."""

    sources: tuple[str, ...]
    target: str
    transform: Transform = IDENTITY


@dataclasses.dataclass(frozen=True)
class Drop:
    """Source names that are not converted: a regular expression over whole names, and why."""

    pattern: str
    reason: str


# What a field of another configuration means in ours: a name, or a function (its value, that
# configuration) -> fields.
Alias = str | Callable[[Any, Mapping[str, Any]], Mapping[str, Any]]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Layout:
    """How one family of published files names its tensors, wraps them, and calls its sizes."""

    name: str
    rules: tuple[Rule, ...]
    drops: tuple[Drop, ...] = ()
    # Where in a .pth file the tensors may lie, if not at the top.
    keys: tuple[str, ...] = ("state_dict",)
    prefixes: tuple[str, ...] = ("module.",)  # that the names may carry
    part_prefixes: tuple[str, ...] = ()  # that a file with one part of the model alone leaves out
    # Names of sizes in the publisher's config.
    aliases: Mapping[str, Alias] = dataclasses.field(default_factory=dict)
    ignored: frozenset[str] = frozenset()  # names there that say nothing about the architecture
    # Fields that the layout decides, at any size.
    implied: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    @cached_property
    def source_pattern(self) -> re.Pattern[str]:
        """Matches every source name that a rule or a drop knows."""
        known = [_regex(source) for rule in self.rules for source in rule.sources]
        return re.compile("|".join([*known, *(drop.pattern for drop in self.drops)]))

    def prefixed(self, prefix: str) -> Layout:
        """The same layout, every source name after `prefix`."""
        rules = tuple(
            Rule(tuple(prefix + name for name in r.sources), r.target, r.transform)
            for r in self.rules
        )
        drops = tuple(
            Drop(f"{re.escape(prefix)}(?:{drop.pattern})", drop.reason) for drop in self.drops
        )
        return dataclasses.replace(self, rules=rules, drops=drops, prefixes=())


@dataclasses.dataclass(frozen=True)
class Step:
    """One target array, and where it comes from."""

    target: str
    sources: tuple[str, ...]
    transform: Transform


@dataclasses.dataclass(frozen=True)
class Plan:
    """What a conversion will do; made from names and shapes alone."""

    steps: tuple[Step, ...]
    dropped: Mapping[str, str]  # source name -> reason

    def convert(self, tensors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Source tensors -> our arrays, in float32."""
        return {
            step.target: np.asarray(
                step.transform.forward([tensors[name] for name in step.sources]),
                dtype=np.float32,
                order="C",
            )
            for step in self.steps
        }

    def invert(self, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Our arrays -> source tensors, without the dropped ones."""
        return {
            name: np.asarray(tensor, order="C")
            for step in self.steps
            for name, tensor in zip(
                step.sources,
                step.transform.inverse(arrays[step.target], len(step.sources)),
                strict=True,
            )
        }


def make_plan(layout: Layout, sources: Shapes, targets: Shapes) -> Plan:
    """Assigns every source to a target or to a drop, and every target exactly one rule.

    Args:
      layout: the table of rules.
      sources: shapes of the checkpoint's tensors by name.
      targets: shapes of the module's arrays by name.

    Raises:
      UserError: lists everything that is missing, unexpected, mis-shaped or used twice.
    """
    steps, missing, misshaped, rule_faults = [], [], [], []
    consumers: dict[str, list[str]] = {}
    for target, shape in targets.items():
        matches = [step for rule in layout.rules if (step := _step_for(rule, target))]
        if len(matches) != 1:
            rule_faults.append(f"{target} ({len(matches)} rules fill it)")
            continue
        step = matches[0]
        steps.append(step)
        for name in step.sources:
            consumers.setdefault(name, []).append(target)
        missing += [name for name in step.sources if name not in sources]
        misshaped += _shape_faults(step, sources, shape)
    rule_faults += [
        f"{name} (used for {' and '.join(used)})"
        for name, used in consumers.items()
        if len(used) > 1
    ]
    dropped, unexpected = {}, []
    for name in sources:
        if name not in consumers:
            reasons = [drop.reason for drop in layout.drops if re.fullmatch(drop.pattern, name)]
            if reasons:
                dropped[name] = reasons[0]
            else:
                unexpected.append(name)
    unexpected = [name + _nearest(name, missing) for name in unexpected]
    faults = {
        "missing": missing,
        "unexpected": unexpected,
        "mis-shaped": misshaped,
        "filled not once": rule_faults,
    }
    if any(faults.values()):
        raise UserError(f"the checkpoint does not fit layout {layout.name!r}: {_listed(faults)}")
    return Plan(tuple(steps), dropped)


def detect_layout(layouts: Iterable[Layout], names: Iterable[str]) -> Layout:
    """Returns the layout that knows most of the names, after the prefix that they carry."""
    names = list(names)
    layouts = list(layouts)
    candidates = [
        *layouts,
        *(layout.prefixed(prefix) for layout in layouts for prefix in layout.prefixes),
    ]
    known = [
        sum(layout.source_pattern.fullmatch(name) is not None for name in names)
        for layout in candidates
    ]
    if not any(known):
        wanted = " nor ".join(layout.name for layout in layouts)
        raise UserError(
            f"the checkpoint's names ({', '.join(names[:3])}, …) are not those of {wanted}"
        )
    return candidates[known.index(max(known))]


def combine(
    layouts: Iterable[Layout], parts: Iterable[Mapping[str, np.ndarray]]
) -> dict[str, np.ndarray]:
    """Returns the tensors of several files, each under the prefix that makes most names known.

    Of a tensor in several files, the last one counts.
    """
    layouts = list(layouts)
    candidates = (
        "",
        *dict.fromkeys(prefix for layout in layouts for prefix in layout.part_prefixes),
    )
    tensors: dict[str, np.ndarray] = {}
    for part in parts:
        known = [
            sum(
                any(layout.source_pattern.fullmatch(prefix + name) for layout in layouts)
                for name in part
            )
            for prefix in candidates
        ]
        prefix = candidates[known.index(max(known))]
        tensors |= {prefix + name: tensor for name, tensor in part.items()}
    return tensors


def _regex(name: str) -> str:
    return re.escape(name).replace(r"\{i\}", r"\d+").replace(r"\{j\}", r"\d+")


def _step_for(rule: Rule, target: str) -> Step | None:
    """The rule applied to one target, its numbers filled in; None where its target is another."""
    pattern = (
        re.escape(rule.target).replace(r"\{i\}", r"(?P<i>\d+)").replace(r"\{j\}", r"(?P<j>\d+)")
    )
    found = re.fullmatch(pattern, target)
    return found and Step(
        target, tuple(name.format(**found.groupdict()) for name in rule.sources), rule.transform
    )


def _shape_faults(step: Step, sources: Shapes, wanted: Shape) -> list[str]:
    """Compares shapes with those of a one-byte stand-in for the target, converted back."""
    needed = step.transform.inverse(np.broadcast_to(np.int8(0), wanted), len(step.sources))
    return [
        f"{name} {sources[name]}, expected {stand_in.shape}"
        for name, stand_in in zip(step.sources, needed, strict=True)
        if name in sources and sources[name] != stand_in.shape
    ]


def _nearest(name: str, missing: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, list(missing)[:MAX_LISTED], n=1, cutoff=0.8)
    return f" (is it {near[0]}?)" if near else ""


def _listed(faults: Mapping[str, list[str]]) -> str:
    parts = []
    for kind, items in faults.items():
        if items:
            more = f", and {len(items) - MAX_LISTED} more" if len(items) > MAX_LISTED else ""
            parts.append(f"{len(items)} {kind}: {', '.join(items[:MAX_LISTED])}{more}")
    return "; ".join(parts)


# How tables are written.


def rule(
    source: str | tuple[str, ...], target: str, transform: Transform = IDENTITY
) -> tuple[Rule, ...]:
    """One rule, as a tuple so that all of these combine by `*`."""
    return (Rule((source,) if isinstance(source, str) else source, target, transform),)


def norm(source: str, target: str) -> tuple[Rule, ...]:
    """A LayerNorm."""
    return (*rule(f"{source}.weight", f"{target}.scale"), *rule(f"{source}.bias", f"{target}.bias"))


def linear(source: str, target: str) -> tuple[Rule, ...]:
    """A linear layer with bias."""
    return (
        *rule(f"{source}.weight", f"{target}.kernel", LINEAR),
        *rule(f"{source}.bias", f"{target}.bias"),
    )


def fused_linear(sources: Iterable[str], target: str) -> tuple[Rule, ...]:
    """Several linear layers whose outputs become the columns of one."""
    sources = tuple(sources)
    return (
        *rule(tuple(f"{source}.weight" for source in sources), f"{target}.kernel", FUSE_LINEAR),
        *rule(tuple(f"{source}.bias" for source in sources), f"{target}.bias", FUSE),
    )


def under(source: str, target: str, rules: Iterable[Rule]) -> tuple[Rule, ...]:
    """The same rules one level deeper: `source.` and `target.` before their names."""
    return tuple(
        Rule(tuple(f"{source}.{name}" for name in r.sources), f"{target}.{r.target}", r.transform)
        for r in rules
    )
