"""Backtest: rules over readings that are already there, by the code that judges live ones.

`run` drives the engine, `files` reads CSV and Parquet, `generic` makes a kind for any file, `compare` and `scores` say
what a change of the rules would have meant.
"""
