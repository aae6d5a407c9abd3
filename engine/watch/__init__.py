"""Following windows as they land: what has landed whole, what is late or there twice, and what is next."""
