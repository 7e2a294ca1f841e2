"""How good a generator is: statistics beside what real samples get, tasks, pictures, and a page that says it in words.

One direction: a subject (run or bundle) and reals -> features -> statistics, each with its floor -> verdict -> report.
"""
