"""Measurements of speed and quality: fixed seeds, medians, and what they are compared with in the same run."""
