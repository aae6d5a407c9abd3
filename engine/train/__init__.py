"""Stage 5, train: from encoded rows and a list of trials to the weights of the best one.

conf.py what a person sets; search_space.py Hydra's sweep grammar to points; registry.py which model classes may be
named; model.py the built-in tabular network; loader.py tensor-resident batches; fit.py one trial with Lightning;
sweep.py many trials, in this process or on Ray Tune.
"""
