"""Layer 1: certificates: files read and checked, and one side of TLS made of them."""
