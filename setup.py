"""Only what pyproject.toml cannot say: conf/ lies beside the packages and travels inside the wheel as engine/conf."""

from setuptools import find_packages, setup

setup(
    packages=[*find_packages(include=["engine*", "kernels*"]), "engine.conf"],
    package_dir={"engine.conf": "conf"},
)
