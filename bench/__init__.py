"""What BuildPeer costs: each bench starts everything itself on loopback and prints one JSON line last."""
