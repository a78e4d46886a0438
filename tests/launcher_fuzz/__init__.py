"""Sweeps under faults drawn from a seed, their controllers killed at random moments.

Whatever happens on the way, after undisturbed resumes every job has its result, none was started
twice, nothing runs or is kept, and no cost is reported that is below the true one.
"""
