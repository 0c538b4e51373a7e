"""Exports trained models: tiers to ONNX graphs, folded and checked against PyTorch."""
