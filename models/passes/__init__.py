"""Passes between the intermediate form and the files: folding, placement, stages."""
