"""The release of a trained model: a folder that is a repository of the Hugging Face Hub.

=========  =======================================================================
module     what it knows
=========  =======================================================================
forms      forms of the values of a card's metadata
hub        the Hub's rules for the metadata of a card, checked offline
tensors    headers of safetensors files, and the plan of the files of weights
weights    the weights: links where nothing changes, else written by a worker
texts      config, tokenizer and the other small files of a checkpoint
licenses   the text of the licence, or its name and its address
citation   how to cite the release
scores     results on data sets of the Hub, for its leaderboards
opens      the libraries that open a release
about      what the release holds, in one file
card       the model card as README.md
listing    the files that are copied, and the manifest
smoke      the release opened by others, and its first steps run
=========  =======================================================================
"""
