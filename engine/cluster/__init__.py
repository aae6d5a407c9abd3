"""Where Ray comes from, and what a job asks a cluster for.

conf.py what a person sets; door.py starts Ray on this machine or joins one that runs; jobs.py speaks to Ray's Job API;
kuberay.py and slurm.py write what is handed to Kubernetes and to Slurm. None of them imports Ray before it is needed.
"""
