"""Measuring a network into rows: one `Subject`, and what is measured of it."""
