"""BuildPeer: construction projects whose files always arrive."""
