"""Trials that train together in one process: no start of their own, and small ones in one vectorised step.

    search.py     a sweep of one pack, in this process
    driver.py     a sweep of packs in Ray's workers, and worker.py the process of one
    sizes.py      how many trials at once, at most
    room.py       how many of them memory has room for
    gauge.py      what is free of it, and what tensors take
    run.py        one pack: who trains, who joins, who leaves
    together.py   one epoch of them: which are vectorised, which take turns on threads
    trial.py      one of them between two epochs: what Lightning's trainer would hold of it
    compiled.py   epochs of the built-in network in compiled code
    layout.py     which networks these are, and where their numbers lie
    steps.py      that code: rows to loss, gradients and AdamW
    blas.py       the matrix product of torch's library, for it
    byhand.py     the steps of others that take turns, without what autograd spends around the arithmetic
    chain.py      dense layers in a row, forward and backward by hand
    masks.py      the bits of their dropout, and the product with what they keep, compiled
    device.py     where it trains, and in which precision
    vector.py     one step of several trials of one shape, vectorised over them (torch.func)
    stack.py      their parameters and moments, in matrices with a row a trial
    adam.py       their AdamW in one pass over all; of one, without the search for its tensors
    gpu.py        the same on a GPU, and graph.py their steps as CUDA graphs
    capturable.py their AdamW there, and counted.py their dropout
    streams.py    dropout, each trial from a random stream of its own
    aside.py      what is kept out of memory
    mapped.py     memory that leaves no holes
    bare.py       modules without tables for hooks that nobody has
    state.py      the checkpoint of one of them, in the form of a trial that trains alone

A trial sees the rows, weights and random numbers that it would see alone. Compiled or vectorised it differs from that
by the rounding of float32, or of bfloat16 where train.precision is that; others that take turns do the very same
arithmetic, bit for bit, by hand as well. On a GPU its dropout draws other numbers than alone. No GPU has run any of it
yet.
"""
