"""What the product costs, each figure beside the plain way of doing the same. `make bench` runs them all."""
