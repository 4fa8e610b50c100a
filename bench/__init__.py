"""Measurements: what the pipeline costs, beside what it would cost without its comforts."""
