"""Run folders: what is written of a run, and read back."""
