"""Conversions between SI units and what files and people use.

Inside the project everything is SI: seconds, bytes, bits per second, watts, joules. The factors 8 and
1e6 stand here and nowhere else.
"""

BITS_PER_BYTE = 8
_MEGA = 1e6
_KILO = 1e3
_MILLI = 1e-3
_MICRO = 1e-6
_S_PER_H = 3600.0


def bits_from_bytes(size_bytes: float) -> float:
    """Return the number of bits in `size_bytes`."""
    return size_bytes * BITS_PER_BYTE


def bps_from_mbps(rate_mbps: float) -> float:
    """Convert Mbit/s to bit/s."""
    return rate_mbps * _MEGA


def mbps_from_bps(rate_bps: float) -> float:
    """Convert bit/s to Mbit/s."""
    return rate_bps / _MEGA


def kilobytes_from_bytes(size_bytes: float) -> float:
    """Convert bytes to kB (10^3 bytes)."""
    return size_bytes / _KILO


def megabytes_from_bytes(size_bytes: float) -> float:
    """Convert bytes to MB (10^6 bytes)."""
    return size_bytes / _MEGA


def s_from_ms(time_ms: float) -> float:
    """Convert milliseconds to seconds."""
    return time_ms * _MILLI


def ms_from_s(time_s: float) -> float:
    """Convert seconds to milliseconds."""
    return time_s / _MILLI


def us_from_s(time_s: float) -> float:
    """Convert seconds to microseconds."""
    return time_s * _MEGA


def from_milli(value: float) -> float:
    """Convert what an instrument shows in thousandths: mW, mV, mA, mJ, mAh, mWh."""
    return value * _MILLI


def from_micro(value: float) -> float:
    """Convert what an instrument shows in millionths: uW, uV, uA, uJ, uAh, uWh."""
    return value * _MICRO


def j_from_wh(energy_wh: float) -> float:
    """Convert watt-hours to joules."""
    return energy_wh * _S_PER_H


def wh_from_j(energy_j: float) -> float:
    """Convert joules to watt-hours."""
    return energy_j / _S_PER_H


def ah_from_c(charge_c: float) -> float:
    """Convert coulombs (ampere-seconds) to ampere-hours."""
    return charge_c / _S_PER_H
