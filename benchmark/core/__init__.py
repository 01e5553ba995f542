"""Numerical operations, one per folder: validation and dispatch, a torch reference, and optional Triton kernels."""
