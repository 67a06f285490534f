"""What is read around the timed region: the clock, and the memory of the process."""
