"""One file per change of the tables, numbered; the numbers are listed in storage/tables.py."""
