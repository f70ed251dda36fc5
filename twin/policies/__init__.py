"""Policies: one file each, one protocol (`twin.control.Policy`).

A policy is a frozen dataclass whose fields are the options that a scenario may set.
"""

from __future__ import annotations

from typing import Any

from twin.policies.adaptive import Adaptive
from twin.policies.dads import Dads
from twin.policies.device_only import DeviceOnly
from twin.policies.horizon import Horizon
from twin.policies.neurosurgeon import Neurosurgeon
from twin.policies.reap import Reap
from twin.policies.robust import Robust
from twin.policies.static import Static

POLICIES: dict[str, type[Any]] = {
    "static": Static,
    "device-only": DeviceOnly,
    "adaptive": Adaptive,
    "reap": Reap,
    "neurosurgeon": Neurosurgeon,
    "dads": Dads,
    "robust": Robust,
    "horizon": Horizon,
}
"""Policies by the `kind` that a scenario names."""
