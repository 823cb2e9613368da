"""The explorer (DeConvolve, section 4.4): a network's filters, words and attribution maps on any image."""
