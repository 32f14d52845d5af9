#!/usr/bin/env python3
"""Copies a set's CSV files with one e-mail address put on 5 % of the records and one address on 2 %.

Usage: benches/mega_block.py SET OUT
Which records it strikes depends on their ids alone, so that the copy is the same each time.
"""

import csv
import hashlib
import sys
from pathlib import Path

EMAIL = "jamie.rivers82@gmail.com"
ADDRESS = {"street": "1200 Harbor Boulevard", "city": "Oakland", "state": "CA", "zip": "94607"}


def main():
    source, target = Path(sys.argv[1]), Path(sys.argv[2])
    target.mkdir(parents=True, exist_ok=True)
    for path in sorted(source.glob("*.csv")):
        with path.open(newline="") as original, (target / path.name).open("w", newline="") as copy:
            reader = csv.DictReader(original)
            writer = csv.DictWriter(copy, reader.fieldnames, lineterminator="\n")
            writer.writeheader()
            for row in reader:
                if path.name != "truth.csv":
                    drawn = hashlib.sha256(row["record_id"].encode()).digest()
                    if drawn[0] < 13:  # of 256
                        row["email"] = EMAIL
                    if drawn[1] < 5:
                        row.update(ADDRESS)
                writer.writerow(row)


if __name__ == "__main__":
    main()
