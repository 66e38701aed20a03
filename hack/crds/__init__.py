"""What is generated from the API's models: the CRDs and the reference."""
