"""What the tests below this folder share lies in `trees.py`; pytest puts the folder of a conftest
on the path.
"""
