"""Layer profiles derived from published whole-model times by a roofline."""
