"""The slow lane: whole days, storms, abuse, many seeds, other versions. The short form of each is in tests."""
