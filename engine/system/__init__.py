"""What the stages need of the machine and of what is around it.

durable.py writes that last; mounts.py file systems; places.py where tables lie; reach.py servers that answer;
redact.py secrets hidden; timing.py where the time went.
"""
