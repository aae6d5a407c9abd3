"""CUDA C++ on device arrays, compiled by NVRTC through CuPy on first use."""
