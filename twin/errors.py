"""The one exception tree: whatever a user can mend is a `TwinError`.

Command lines print the message and leave with status 2. A message names the file, the place in it,
what was wrong and the remedy.
"""


class TwinError(Exception):
    """Base of every error that a user of the project can mend."""


class GraphError(TwinError):
    """A layer graph is malformed: a cycle, an unknown input, a name used twice."""


class PartitionError(TwinError):
    """A partition does not fit its graph or its devices."""


class ProfileError(TwinError):
    """A layer profile is missing, malformed or belongs to another model."""


class TraceError(TwinError):
    """A trace is missing, empty, malformed or has run out."""


class ScenarioError(TwinError):
    """A scenario file is wrong: an unknown key, a bad value, a name that resolves to nothing."""


class InfeasibleError(TwinError):
    """No partition meets the constraints."""


class RunFolderError(TwinError):
    """A run folder cannot be read or written."""


class MeasurementError(TwinError):
    """Something could not be measured on this machine."""


class TransportError(TwinError):
    """Machines cannot talk to each other: nothing answers, keys do not match, a message is malformed."""


class EmulationError(TwinError):
    """One machine cannot stand in for several: a process of it died early, or the system allows too little."""


class EngineError(TwinError):
    """A scenario holds what the chosen engine does not play."""


class SweepError(TwinError):
    """A sweep cannot be played: nothing varies, no point of it is valid, no worker answers."""


class MachineError(TwinError):
    """The machines of a testbed do not fit together: weights that differ, inputs that cannot be read."""


class ComparisonError(TwinError):
    """Two results cannot be compared: another model, workload or machines; a requirement that names nothing known."""


class CalibrationError(TwinError):
    """A calibration cannot be made or used: measured runs or a scenario that do not fit it, a malformed file."""
