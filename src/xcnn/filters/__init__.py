"""What a filter does: scores, activation maximisation, succinctness, activity, and matching between trainings."""

from xcnn.filters.score import ramp, score_filters

__all__ = ["ramp", "score_filters"]
