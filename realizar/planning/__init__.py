"""Which devices compute a model: their memory and rates, the floors of its phases, and the layers that each gets."""
