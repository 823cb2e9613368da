"""The networks, their weights, and the cutting of a network at a layer."""
