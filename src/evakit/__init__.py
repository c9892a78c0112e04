"""evakit: turn any program into a voice conversation."""
