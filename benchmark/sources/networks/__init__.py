"""Networks: their parts, found or named, and the layers that can be tapped."""
