"""What is read around the timed region: the clock, memory, and the GPU through NVML."""
