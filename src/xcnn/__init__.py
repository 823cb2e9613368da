"""xcnn: five papers on explaining convolutional networks, reproduced on equal terms.

The layers of the package, each importing only those before it (`tests/repository/test_layers.py` holds them to it):
`errors, files, fingerprint` (the ground) -> `data, models` -> `training` -> `attribution, prototypes, filters,
language, surrogates` -> `metrics, figures` -> `report` -> `launch` (the one module that imports Hydra).
"""
