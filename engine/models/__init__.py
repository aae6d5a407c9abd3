"""Models as a whole, above the stages: an encoder (data), a network (train) and an artifact (promote) at once.

challenger.py how one is made and judged; predictor.py one as production sees it; predicted.py what models say of whole
windows, once; infra.py how one behaves as a program.
"""
