"""Instructions in words: the lexicon, the grammar that binds its words, and the text encoders."""
