"""Databosun keeps databases recoverable and proves it: a Kubernetes operator and the agent of its Jobs."""

__version__ = "0.1.0"
