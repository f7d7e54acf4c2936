"""The attempts themselves, which run in a process and namespaces of their own.

Standard library only, relative imports only: the folder works wherever it lies, also in a virtual machine under
``python -S -I``. Entry: ``run.main``.
"""
