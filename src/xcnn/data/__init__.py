"""Data sets as LightningDataModules; one file each."""
