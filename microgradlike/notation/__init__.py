"""How numbers, nodes and formulas are written."""
