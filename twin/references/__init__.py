"""References that see the truth, to tell how much a policy leaves on the table."""
