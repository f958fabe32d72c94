"""PyTorch networks: a file of weights and a small TOML that names the layers.

A ``state_dict`` holds weights without the network that they belong to, so a description stands
beside it, the layers in the order in which the data passes them::

    [[layers]]
    kind = "embedding"        # nn.Embedding
    weights = "embedding"     # what its entries in the state_dict begin with

    [[layers]]
    kind = "gru"              # nn.RNN ("rnn"), nn.LSTM ("lstm"), nn.GRU ("gru")
    weights = "rnn"
    output = "last"           # after a sequence ("last") or after every step ("sequence")

    [[layers]]
    kind = "linear"           # nn.Linear
    weights = "fc"

Sizes, the number of layers of a recurrence and whether it has biases are read off the weights.
"""
