"""The engine of MariaDB. Imported on use by the registry, so that the operator never loads the driver."""
