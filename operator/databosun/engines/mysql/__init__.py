"""The engine of MariaDB and MySQL. Imported on use by the registry, so that the operator never loads the driver."""

from databosun.engines.mysql.engine import ENGINE

__all__ = ["ENGINE"]
