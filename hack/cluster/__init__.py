"""One command for a Kubernetes cluster to develop and test against."""
