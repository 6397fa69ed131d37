"""Training of what models stand on: codec, backbone, estimator, language."""
