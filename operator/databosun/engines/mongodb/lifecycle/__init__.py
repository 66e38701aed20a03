"""Lifecycle rules on MongoDB."""

from databosun.engines.mongodb.lifecycle.session import LIFECYCLE

__all__ = ["LIFECYCLE"]
