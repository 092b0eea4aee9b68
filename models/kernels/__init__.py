"""What is compiled: encoding, learners, and the walk that carries events through them.

Callers inline what they call, so a change to one file is seen only once the cache of the others is gone;
the tests see to it, elsewhere `make clean` does.
"""
