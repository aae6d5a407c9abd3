"""Stage 5, train: from encoded rows and a list of trials to the weights of the best one.

conf.py what a person sets; search_space/ Hydra's sweep grammar to points; registry.py which model classes may be
named; model.py the built-in tabular network; loader.py tensor-resident batches; fit.py one trial with Lightning;
weights.py its weights as bytes; sweep.py many trials in this process, and the record of them; course.py which trial
comes next and which must stop, asking searchers.py, schedulers.py, paired.py and budget.py; front.py which one is
chosen; tune.py many trials on Ray Tune, with tune_course.py its part in the driver, tune_trial.py what Tune holds of a
trial, and worker.py the process that trains it.
"""
