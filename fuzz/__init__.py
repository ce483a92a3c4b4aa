"""Coverage-guided fuzzing of the parts that read what peers send: ``make fuzz``, see CONTRIBUTING.md.

``harness`` has what targets share. A target is a module with a ``TARGET``: ``splitter``, ``lenient``, ``session``,
``control``, ``web``. ``engine`` is one process with atheris and a target, ``__main__`` runs such processes and judges
what they have found. ``corpus/`` has what a run begins with; ``seeds`` makes the first part of it.
"""
