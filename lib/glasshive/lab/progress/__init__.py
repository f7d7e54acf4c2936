"""What a learner has done: ``store`` keeps it in one file outside of the notebooks; ``standing``, ``export`` read it.

Every attempt, hint and prediction is an event; nothing is ever changed or overwritten.
"""
