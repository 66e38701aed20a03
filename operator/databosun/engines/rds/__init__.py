"""The engine of Amazon RDS and Aurora. Imported on use by the registry."""

from databosun.engines.rds.engine import ENGINE

__all__ = ["ENGINE"]
