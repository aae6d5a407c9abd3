"""Stage 5, train: from encoded rows and a list of trials to the weights of the best one.

conf.py what a person sets; search_space/ Hydra's sweep grammar to points; registry.py which model classes may be
named; model.py the built-in networks, module.py the same as LightningModules, optimizer.py their AdamW, inference.py
what is built and asked without a trainer; loader.py tensor-resident batches; fit.py one trial with Lightning, scorer.py
what is kept of it, distributed.py on several processes; checkpoint.py what it goes on from; weights.py its weights as
bytes; naming.py what trials are called; warmup.py slow imports beside other work.

sweep.py many trials in this process, and the record of them; course.py which trial comes next and which must stop,
asking searchers.py, schedulers.py, paired.py and budget.py; population.py who takes over from whom, rounds.py where the
members stand, shapes.py what they cannot search; front.py which one is chosen; watched.py who looks on.
tune.py many trials on Ray Tune, with tune_course.py its searcher and scheduler, tune_trial.py what Tune holds of a
trial, worker.py the process that trains it, lost.py how one is lost, crew.py all of them, home.py where those of other
machines send their files, patience.py how often a trial is tried again and watchdog.py whether Ray lives.

pack/ many trials together in one process: this one, or each of Ray's workers.
"""
