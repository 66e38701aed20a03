"""The engine of MongoDB. Imported on use by the registry, so that the operator never loads the driver."""

from databosun.engines.mongodb.engine import ENGINE

__all__ = ["ENGINE"]
