"""HSD with the options' mask and defects; the method itself is in `iadsr.methods.hierarchical`."""

from __future__ import annotations

from iadsr.methods.hierarchical import HierarchicalDenoiser, Unmasked
from iadsr.methods.hierarchical_defects import DEFECTS
from iadsr.methods.hsd_options import HSDOptions
from iadsr.methods.method import MethodInputs


def build(inputs: MethodInputs, options: HSDOptions) -> HierarchicalDenoiser:
    """Build HSD with the defects of `options`."""
    base = Unmasked if options.mask == "none" else HierarchicalDenoiser
    parts = [DEFECTS[name] for name in options.defects]
    asked = frozenset(name for part in parts for name in part.asks_for)
    kind: type[HierarchicalDenoiser] = type("HSD", (*parts, base), {"asks_for": asked})
    return kind(inputs, options)
