"""Hydra's sweep grammar as a search space: expressions in, points out.

domain.py the values of one key; grammar.py an expression to a domain; space.py all keys, and which of them exist under
which option of a config group; draw.py points from a seed; quoting.py a value as the grammar reads it back.
"""

from engine.train.search_space.domain import Domain
from engine.train.search_space.draw import draw
from engine.train.search_space.grammar import parse
from engine.train.search_space.quoting import quote
from engine.train.search_space.space import Cell, Point, Space

__all__ = ["Cell", "Domain", "Point", "Space", "draw", "parse", "quote"]
