"""The release of a trained model: a folder that is a repository of the Hugging Face Hub.

========  ========================================================================
tensors   headers of safetensors files, and the plan of the files of weights
weights   the weights: links where nothing changes, else written by a worker
========  ========================================================================
"""
