#!/usr/bin/env python3
"""Deduplicates customer files of the schema "retail" with custmatch: CSV files in, clusters.csv out.

custmatch learns from labelled pairs and refuses to run with fewer than 200, so there are two modes:

--label TRUTH --labels FILE    draws the pairs custmatch asks for and labels them from the truth
--labels FILE --out FILE       runs with those labels; this is the job that is measured
"""

import csv
import json
import os
import re
import shutil
import tempfile
from pathlib import Path

import nicknames
from retail import RETAIL_COLUMNS, Stages, check_schema, job_arguments, write_clusters, write_facts

# About 300 labelled pairs, most of them picked by active learning, is what custmatch's README asks for;
# but it chooses its threshold on the random ones alone. Of three splits this gave the best result (README.md).
RANDOM_PAIRS = 170
ACTIVE_ROUNDS = [65, 65]


def main():
    parser = job_arguments(__doc__)
    parser.add_argument("--labels", required=True, type=Path, help="labelled pairs, written with --label")
    parser.add_argument("--label", type=Path, metavar="truth.csv", help="draw and label pairs, then stop")
    arguments = parser.parse_args()

    stages = Stages()
    with tempfile.TemporaryDirectory() as folder_name:
        folder = Path(folder_name)
        provide_nicknames(folder)
        # Imported only now: custmatch looks for its word lists where the environment says.
        from custmatch import labels, pipeline

        config = write_config(arguments.files, folder)
        stages.done("prepare")
        if arguments.label:
            draw_labels(labels, config, arguments.label, arguments.labels, folder)
            return
        summary = pipeline.run(str(config), str(arguments.labels), str(folder / "result"))
        for stage, seconds in summary["stage_seconds"].items():
            stages.seconds[re.split("[(:]", stage)[0].strip()] = seconds
        with (folder / "result" / "clusters.csv").open(newline="") as lines:
            rows = ([row["source"], row["record_id"], row["customer_id"]] for row in csv.DictReader(lines))
            write_clusters(arguments.out, rows)
    write_facts(
        arguments.facts,
        summary["candidate_pairs"],
        stages.seconds,
        labelled_pairs=summary["labelled_pairs"],
        threshold=summary["threshold"],
        warnings=summary["warnings"],
    )


def provide_nicknames(folder):
    """Puts the list custmatch would download where it looks first; the package nicknames holds the same list."""
    with nicknames.with_names_csv_path() as path:
        shutil.copy(path, folder / "nicknames.csv")
    os.environ["CUSTMATCH_DATA"] = str(folder)


def write_config(files, folder):
    """The configuration, beside copies of the files whose zip is cut to five digits: custmatch compares it as it is."""
    zip_column = RETAIL_COLUMNS.index("zip")
    sources = []
    for file in files:
        check_schema(file)
        with file.open(newline="") as lines, (folder / file.name).open("w", newline="") as copy:
            writer = csv.writer(copy)
            for row in csv.reader(lines):
                if row[zip_column] != "zip":
                    row[zip_column] = row[zip_column][:5]
                writer.writerow(row)
        sources.append({
            "name": file.stem,
            "path": file.name,
            "columns": {
                "record_id": "record_id", "first_name": "first_name", "last_name": "last_name",
                "date_of_birth": "dob", "address": "street", "email": "email", "phone": "phone",
                "postcode": "zip", "city": "city", "loyalty_id": "loyalty_id",
            },
        })  # fmt: skip
    config = {
        "sources": sources,
        # Phones, dates, Gmail dots and nicknames as in the United States.
        "country": "US",
        "extra_fields": [{"name": "postcode", "compare": "exact"}, {"name": "city", "compare": "similarity"}],
        "extra_blocking": [["last_name", "postcode"], ["first_name", "postcode"], ["last_name", "date_of_birth"]],
        "placeholders": True,
        "trusted_ids": ["loyalty_id"],
        "trusted_max": 10,
        "twin_guard": True,
        # Its word list would be downloaded; it never changes a match.
        "suspect_records": False,
    }
    path = folder / "config.json"
    path.write_text(json.dumps(config))
    return path


# Asks custmatch for pairs the way its guide does - random ones first, then twice those it is least sure of -
# and answers from the truth instead of a person.
def draw_labels(labels, config, truth, out, folder):
    with truth.open(newline="") as lines:
        person = {f"{row['source']}:{row['record_id']}": row["cluster"] for row in csv.DictReader(lines)}
    asked = folder / "asked.csv"
    labels.sample(str(config), RANDOM_PAIRS, str(asked))
    answer(asked, person, out, append=False)
    for seed, pairs in enumerate(ACTIVE_ROUNDS, start=1):
        labels.sample_active(str(config), str(out), pairs, str(asked), seed=seed)
        answer(asked, person, out, append=True)


def answer(asked, person, out, append):
    with asked.open(newline="") as lines, out.open("a" if append else "w", newline="") as answers:
        writer = csv.writer(answers)
        if not append:
            writer.writerow(["a", "b", "label", "by"])
        for pair in csv.DictReader(lines):
            same = person[pair["a"]] == person[pair["b"]]
            writer.writerow([pair["a"], pair["b"], int(same), pair["by"]])


if __name__ == "__main__":
    main()
