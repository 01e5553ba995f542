"""Networks: their named or discovered parts, and the layers that can be tapped."""
