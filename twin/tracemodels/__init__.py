"""Seeded Markov models of links and loads, from which the committed traces are drawn."""
