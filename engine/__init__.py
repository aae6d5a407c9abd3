"""Tidegate's engine: one cycle of continuous training, a room a stage (see cycle/loop.py)."""

__version__ = "0.1.0"
