"""Structured pruning: whole hidden units and whole input channels are taken out.

The network is rebuilt smaller and stays dense, so that every stock runtime is faster for it, which
zeros among the weights do not achieve (see :mod:`models.compress.magnitude`).

- :mod:`~models.compress.structured.importance`: how much each unit and channel matters;
- :mod:`~models.compress.structured.cut`: the network without some of them;
- :mod:`~models.compress.structured.rounds`: both in turn, with a fine-tuning after each cut.

Sources: P. Molchanov et al., "Pruning convolutional neural networks for resource efficient
inference" (2017), for the importance and for pruning in rounds; W. Wen et al., "Learning intrinsic
sparse structures within long short-term memory" (2018), for what goes with a unit.
"""
