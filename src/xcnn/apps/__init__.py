"""The web applications: the explorer and the human study. What both share lies beside them."""
