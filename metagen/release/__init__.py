"""A trained model as a repository of the Hugging Face Hub.

==========  =====================================================================
module      what it knows
==========  =====================================================================
forms       forms of the values of a card's metadata
hub         the Hub's rules for the metadata of a card, checked offline
==========  =====================================================================
"""
