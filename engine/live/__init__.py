"""Live trading: signals to orders, with guards and a state that survives any death."""
