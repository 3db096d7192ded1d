"""Web: the pages that readers use."""
