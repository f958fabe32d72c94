"""Import PyTorch networks from a file of weights and a small TOML that names the layers.

A ``state_dict`` holds the weights without the network. So a description beside it lists the layers
in the order in which the data passes them::

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

The weights tell the sizes, the number of layers of a recurrence and whether it has biases.
"""
