"""The configuration that travels with the package, as engine.conf."""
