"""Report: what people see. The terminal while a loop runs, and one self-contained HTML page afterwards."""
