"""The fast profile: other arithmetic for the same tokens, and the kernels it may run on."""
