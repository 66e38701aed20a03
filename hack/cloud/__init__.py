"""A stand-in of an AWS account with Amazon RDS, for the demo and the tests. Nobody's data should live in it."""
