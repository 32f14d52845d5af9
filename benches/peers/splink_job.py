#!/usr/bin/env python3
"""Deduplicates customer files of the schema "retail" with Splink on DuckDB: CSV files in, clusters.csv out.

--settings expert    comparisons, blocking and a veto written by hand for this schema
--settings library   the comparisons of splink.comparison_library, as the documentation's tutorials use them
"""

import logging

import duckdb
import splink.comparison_level_library as cll
import splink.comparison_library as cl
from nicknames import NickNamer
from retail import Stages, job_arguments, read_and_clean, write_facts
from splink import DuckDBAPI, Linker, SettingsCreator, block_on

CLUSTER_THRESHOLD = 0.9
SEED = 1

# Both settings look at the same pairs and start from the same prior, so that they differ in scoring only.
BLOCKING_RULES = [
    block_on("email"),
    block_on("phone"),
    block_on("loyalty_id"),
    block_on("last_name", "zip"),
    block_on("first_name", "zip"),
    block_on("address", "zip"),
    block_on("first_name", "dob"),
    block_on("last_name", "dob"),
    block_on("first_name", "last_name"),
]
DETERMINISTIC_RULES = [
    block_on("loyalty_id"),
    block_on("email", "first_name"),
    block_on("phone", "first_name"),
    block_on("first_name", "last_name", "dob"),
    block_on("first_name", "last_name", "address", "zip"),
]
DETERMINISTIC_RECALL = 0.6
EM_RULES = [block_on("email"), block_on("phone"), block_on("first_name", "last_name")]


def main():
    parser = job_arguments(__doc__)
    parser.add_argument("--settings", choices=["expert", "library"], default="expert")
    parser.add_argument("--u-pairs", type=float, default=1e6, help="pairs sampled to estimate u (default 1e6)")
    arguments = parser.parse_args()
    logging.getLogger("splink").setLevel(logging.ERROR)
    expert = arguments.settings == "expert"

    stages = Stages()
    connection = duckdb.connect()
    read_and_clean(connection, arguments.files)
    if expert:
        add_name_roots(connection)
    stages.done("read and clean")

    database = DuckDBAPI(connection)
    settings = SettingsCreator(
        link_type="dedupe_only",
        comparisons=expert_comparisons() if expert else library_comparisons(),
        blocking_rules_to_generate_predictions=BLOCKING_RULES,
        additional_columns_to_retain=["source_name", "source_record_id"],
    )
    linker = Linker(database.register("customers"), settings, log_level=None)
    linker.training.estimate_probability_two_random_records_match(DETERMINISTIC_RULES, recall=DETERMINISTIC_RECALL)
    stages.done("prior")
    linker.training.estimate_u_using_random_sampling(max_pairs=arguments.u_pairs, seed=SEED)
    stages.done("u")
    for rule in EM_RULES:
        # "Much faster", says its documentation; it moved no figure here, so only the expert knows.
        linker.training.estimate_parameters_using_expectation_maximisation(
            rule, estimate_without_term_frequencies=expert
        )
    stages.done("EM")

    # Predict takes these pairs over; they are computed apart only to be counted.
    blocked = linker.inference.compute_blocked_pairs_for_predict()
    ((candidate_pairs,),) = connection.execute(f"select count(*) from {blocked.physical_name}").fetchall()
    stages.done("block")
    predictions = linker.inference.predict(threshold_match_probability=CLUSTER_THRESHOLD)
    stages.done("predict")
    clusters = linker.clustering.cluster_pairwise_predictions_at_threshold(predictions, CLUSTER_THRESHOLD)
    stages.done("cluster")
    connection.execute(
        f"""copy (
            select source_name as source, source_record_id as record_id, cluster_id as identity_id
            from {clusters.physical_name}
        ) to '{arguments.out}' (header true)"""
    )
    stages.done("write")
    write_facts(arguments.facts, candidate_pairs, stages.seconds)


def add_name_roots(connection):
    """Gives each record the list of names its first name may stand for: bob -> [bob, robert]."""
    namer = NickNamer()
    names = connection.execute("select distinct first_name from customers where first_name is not null").fetchall()
    roots = {name: sorted({name} | namer.canonicals_of(name)) for (name,) in names}
    connection.execute(
        "create table name_roots as select unnest($names) as first_name, unnest($roots) as roots",
        {"names": list(roots.keys()), "roots": list(roots.values())},
    )
    connection.execute(
        """create or replace table customers as
        select customers.*, coalesce(roots, []) as first_roots
        from customers left join name_roots using (first_name)"""
    )


def level(sql, label, **configuration):
    return cll.CustomLevel(sql, label_for_charts=label).configure(**configuration)


def family_comparison():
    """Last name and address in one comparison: a household shares both, so they are not two pieces of evidence."""
    same_home = "(address_l = address_r and zip_l = zip_r)"
    same_name = "last_name_l = last_name_r"
    close_name = (
        "(levenshtein(last_name_l, last_name_r) = 1 or jaro_winkler_similarity(last_name_l, last_name_r) >= 0.92"
        " or list_has_any(last_parts_l, last_parts_r)"
        " or (first_name_l = last_name_r and last_name_l = first_name_r))"
    )
    name_missing = "(last_name_l is null or last_name_r is null)"
    zip_missing = "(zip_l is null or zip_r is null)"
    by_frequency = {"tf_adjustment_column": "last_name"}
    return cl.CustomComparison(
        output_column_name="family",
        comparison_levels=[
            level(f"{name_missing} and {zip_missing}", "nothing to compare", is_null_level=True),
            level(f"{same_name} and {same_home}", "same name, same home", **by_frequency),
            level(f"{close_name} and {same_home}", "close name, same home"),
            level(f"{name_missing} and {same_home}", "name missing, same home"),
            level(same_home, "different name, same home"),
            level(f"{same_name} and zip_l = zip_r", "same name, same zip", **by_frequency),
            level(f"{close_name} and zip_l = zip_r", "close name, same zip"),
            level(f"{name_missing} and zip_l = zip_r", "name missing, same zip"),
            level("zip_l = zip_r", "different name, same zip"),
            level(f"{same_name} and {zip_missing}", "same name, zip missing", **by_frequency),
            level(f"{close_name} and {zip_missing}", "close name, zip missing"),
            level(zip_missing, "different name, zip missing"),
            cll.ExactMatchLevel("last_name", term_frequency_adjustments=True),
            level(close_name, "close name, different zip"),
            level(name_missing, "name missing, different zip"),
            cll.ElseLevel(),
        ],
    )


def expert_comparisons():
    first_name = cl.CustomComparison(
        output_column_name="first_name",
        comparison_levels=[
            cll.NullLevel("first_name"),
            cll.ExactMatchLevel("first_name", term_frequency_adjustments=True),
            level("list_has_any(first_roots_l, first_roots_r)", "nickname"),
            level(
                "left(first_name_l, 1) = left(first_name_r, 1)"
                " and (length(first_name_l) = 1 or length(first_name_r) = 1)",
                "initial",
            ),
            level(
                "levenshtein(first_name_l, first_name_r) = 1"
                " or jaro_winkler_similarity(first_name_l, first_name_r) >= 0.92"
                " or (first_name_l = last_name_r and last_name_l = first_name_r)",
                "typing error, or swapped with the last name",
            ),
            cll.JaroWinklerLevel("first_name", 0.8),
            # A veto. EM would learn that one match in seven has another first name, because its blocks by
            # e-mail and phone are full of households.
            cll.ElseLevel().configure(m_probability=1e-6, fix_m_probability=True),
        ],
    )
    email = cl.CustomComparison(
        output_column_name="email",
        comparison_levels=[
            cll.NullLevel("email"),
            cll.ExactMatchLevel("email"),
            level(
                "levenshtein(email_l, email_r) <= 2"
                " or split_part(email_l, '@', 1) = split_part(email_r, '@', 1)",
                "typing error, or same user name",
            ),
            cll.ElseLevel(),
        ],
    )
    phone = cl.CustomComparison(
        output_column_name="phone",
        comparison_levels=[
            cll.NullLevel("phone"),
            cll.ExactMatchLevel("phone"),
            cll.LevenshteinLevel("phone", 1),
            cll.ElseLevel(),
        ],
    )
    dob = cl.CustomComparison(
        output_column_name="dob",
        comparison_levels=[
            cll.NullLevel("dob"),
            cll.ExactMatchLevel("dob"),
            level(
                "levenshtein(dob_l, dob_r) = 1 or (left(dob_l, 4) = left(dob_r, 4)"
                " and substr(dob_l, 6, 2) = substr(dob_r, 9, 2) and substr(dob_l, 9, 2) = substr(dob_r, 6, 2))",
                "typing error, or day and month swapped",
            ),
            cll.ElseLevel(),
        ],
    )
    return [first_name, family_comparison(), email, phone, dob, cl.ExactMatch("loyalty_id")]


def library_comparisons():
    return [
        cl.NameComparison("first_name"),
        cl.NameComparison("last_name"),
        cl.EmailComparison("email"),
        cl.LevenshteinAtThresholds("phone", [1, 2]),
        cl.DateOfBirthComparison("dob", input_is_string=True),
        cl.JaroWinklerAtThresholds("address", [0.9, 0.7]),
        # PostcodeComparison knows British postcodes only: on zips all but its exact level stay empty.
        cl.ExactMatch("zip").configure(term_frequency_adjustments=True),
        cl.ExactMatch("loyalty_id"),
    ]


if __name__ == "__main__":
    main()
