"""What a recovered copy is asked, and what artefacts are asked without one."""
