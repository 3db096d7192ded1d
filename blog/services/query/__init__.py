"""Query: posts with their comments, as readers see them."""
