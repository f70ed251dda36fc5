"""Readings of power meters -> joules of a measured run with their uncertainty, and the power states behind them."""

from twin.metering.facts import MeterFacts
from twin.metering.measured import Joules, MeteredEnergy, measured_power, metered

__all__ = ["Joules", "MeterFacts", "MeteredEnergy", "measured_power", "metered"]
