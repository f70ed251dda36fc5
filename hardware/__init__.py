"""The measured backend: profiles, testbed and meters on real machines."""
