"""From what people type to typed config: Hydra composes, and nothing below this room sees an OmegaConf object.

schema.py the config as types; composition.py composing, fast; checks.py what can be told from the config alone;
preflight.py and binding.py a search space before it starts: checked, bound to groups; shown.py how it is shown;
keys.py what each key means; habits.py what people type instead; explain.py errors as one line.
"""
