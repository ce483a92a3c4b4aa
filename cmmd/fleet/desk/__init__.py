"""The desk: what people and programs may ask, and have done, whichever way they came in."""
