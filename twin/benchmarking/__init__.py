"""How fast engines, searches and policies are, as multiples of other programs in one run."""
