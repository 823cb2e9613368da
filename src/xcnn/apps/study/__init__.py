"""The human study: raters choose among blinded maps, or compare two networks' maps, in a browser."""
