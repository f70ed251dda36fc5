"""Power meters: what each says, how it is reached, and how its readings are kept."""
