"""Prepares corpora and trains SampleRNN models with PyTorch."""
