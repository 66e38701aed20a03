"""What is asked of a recovered copy before anybody may say that its backup is good."""
