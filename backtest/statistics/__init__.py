"""What scores say about returns, with error bars: pure functions of a panel."""
