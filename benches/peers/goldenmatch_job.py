#!/usr/bin/env python3
"""Deduplicates customer files of the schema "retail" with GoldenMatch: CSV files in, clusters.csv out.

--settings rules   rules written by hand for this schema, in goldenmatch.yaml
--settings none    goldenmatch.dedupe(FILES) as its README starts; it may refuse
"""

import os
from pathlib import Path

# Read when goldenmatch is imported: no settings remembered from an earlier run in the home folder.
os.environ["GOLDENMATCH_AUTOCONFIG_MEMORY"] = "0"

import duckdb  # noqa: E402
import goldenmatch  # noqa: E402
from retail import Stages, check_schema, job_arguments, read_and_clean, write_clusters, write_facts  # noqa: E402

RULES = Path(__file__).with_name("goldenmatch.yaml")


def main():
    parser = job_arguments(__doc__)
    parser.add_argument("--settings", choices=["rules", "none"], default="rules")
    arguments = parser.parse_args()

    stages = Stages()
    if arguments.settings == "rules":
        records, result = run_rules(arguments.files, stages)
    else:
        records, result = run_without_settings(arguments.files)
    stages.done("dedupe")

    identity = {row: f"c{cluster}" for cluster, found in result.clusters.items() for row in found["members"]}
    write_clusters(
        arguments.out,
        ((source, record_id, identity.get(row, f"r{row}")) for row, (source, record_id) in enumerate(records)),
    )
    stages.done("write")
    # It tells the pairs above its thresholds, not those it compared.
    write_facts(arguments.facts, None, stages.seconds)


def run_rules(files, stages):
    connection = duckdb.connect()
    read_and_clean(connection, files)
    records = connection.execute("select source_name, source_record_id from customers order by unique_id").fetchall()
    table = connection.sql(
        "select first_name, last_name, email, phone, dob, address, zip, loyalty_id from customers order by unique_id"
    ).to_arrow_table()
    stages.done("read and clean")
    return records, goldenmatch.dedupe_df(table, config=goldenmatch.load_config(str(RULES)))


def run_without_settings(files):
    for file in files:
        check_schema(file)
    records = duckdb.sql(
        "select parse_filename(filename, true), record_id"
        f" from read_csv({[str(file) for file in files]}, header = true, all_varchar = true, filename = true)"
    ).fetchall()
    return records, goldenmatch.dedupe(*[str(file) for file in files])


if __name__ == "__main__":
    main()
