"""What can go wrong with a power meter. Each message says the remedy; a run goes on after any of them."""

from twin.errors import MeasurementError


class MeterError(MeasurementError):
    """A power meter gave no reading."""


class UrlError(MeterError):
    """The address of a meter names no meter that is known."""


class AccessError(MeterError):
    """The meter or its port is missing, in use, or closed to this user."""


class UnpluggedError(MeterError):
    """The meter went away while it was in use."""


class SilentError(MeterError):
    """The meter did not answer in time."""


class NoPowerError(MeterError):
    """The source answers, but cannot tell a power now, such as a battery that is being charged."""


class DecodeError(MeterError):
    """What came is not what the meter says: too short, a wrong checksum, a name out of place.

    Attributes:
        frame: The bytes as they came, for the file of raw frames.
    """

    def __init__(self, message: str, frame: bytes = b"") -> None:
        super().__init__(message)
        self.frame = frame


class WrongMeterError(DecodeError):
    """The answer is sound, but from another meter than was asked for."""
