"""`python -m engine.train`: two-stage training of Kronos on Ray Train."""
