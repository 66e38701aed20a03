"""What the charts repeat from elsewhere in the repository, and how it is kept the same."""
