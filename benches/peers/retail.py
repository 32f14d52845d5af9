"""What the jobs share: the schema "retail", its cleaning where a tool leaves that to its user, arguments, output."""

import argparse
import csv
import json
import time
from pathlib import Path

RETAIL_COLUMNS = [
    "record_id", "first_name", "last_name", "email", "phone", "dob",
    "street", "city", "state", "zip", "loyalty_id", "updated_at",
]  # fmt: skip

# Values typed to get past a mandatory field say nothing and are taken out before matching, as
# Splink's guide to data preparation asks. The lists are not complete, so an e-mail or phone that
# more records carry than one person's or household's could is taken out as well.
NAME_PLACEHOLDERS = "'unknown', 'cash', 'test', 'na', 'guest', 'customer', 'none'"
EMAIL_PLACEHOLDERS = r"^(none|no|na|a|test|refused|customer|noemail|unknown)@|@(none|na|test)\.com$"
PHONE_PLACEHOLDERS = "'1234567890', '0123456789'"
DATE_PLACEHOLDERS = "'1900-01-01', '1970-01-01', '1980-01-01', '2000-01-01'"
MOST_RECORDS_OF_A_CONTACT = 20

CLEAN_SQL = rf"""
create table customers as
with raw as (
    select
        row_number() over () as unique_id,
        parse_filename(filename, true) as source_name,
        * exclude (filename)
    from read_csv($files, header = true, all_varchar = true, filename = true)
),
parts as (
    select
        unique_id,
        source_name,
        record_id as source_record_id,
        -- "Mary T" and "Smith Jr" are Mary and Smith; digits are slips of the finger: L0u is Lou
        regexp_replace(
            translate(split_part(trim(lower(strip_accents(first_name))), ' ', 1), '013', 'ole'), '[^a-z]', '', 'g'
        ) as first_letters,
        regexp_replace(
            translate(trim(lower(strip_accents(last_name))), '013', 'ole'), '\s+(jr|sr|ii|iii)\.?$', ''
        ) as last_words,
        regexp_replace(last_words, '[^a-z]', '', 'g') as last_letters,
        lower(trim(email)) as email_lower,
        right(regexp_replace(phone, '[^0-9]', '', 'g'), 10) as digits,
        coalesce(try_strptime(dob, '%Y-%m-%d'), try_strptime(dob, '%m/%d/%Y')) as birth,
        strftime(birth, '%Y-%m-%d') as birth_text,
        -- the flat's number is often left out, and "North Oak Street" is also written "N Oak St" and "Oak St"
        regexp_replace(lower(street), '\b(north|south|east|west|n|s|e|w)\b', '', 'g') as street_words,
        regexp_extract(street_words, '^\s*([0-9]+)', 1) as house_number,
        regexp_extract(street_words, '[a-z]+') as street_word,
        nullif(left(trim(zip), 5), '') as zip,
        nullif(upper(trim(loyalty_id)), '') as loyalty_id
    from raw
),
cleaned as (
    select
        unique_id,
        source_name,
        source_record_id,
        case when first_letters not in ('', {NAME_PLACEHOLDERS}) then first_letters end as first_name,
        case when last_letters not in ('', {NAME_PLACEHOLDERS}) then last_letters end as last_name,
        list_filter(string_split_regex(last_words, '[ -]+'), lambda part: length(part) > 2) as last_parts,
        case when contains(email_lower, '@') and not regexp_matches(email_lower, '{EMAIL_PLACEHOLDERS}')
            then email_lower end as email,
        case when length(digits) = 10 and digits not in ({PHONE_PLACEHOLDERS})
            and digits <> repeat(left(digits, 1), 10) then digits end as phone,
        case when birth_text not in ({DATE_PLACEHOLDERS}) then birth_text end as dob,
        case when house_number <> '' and street_word <> '' then house_number || ' ' || street_word end as address,
        zip,
        loyalty_id
    from parts
)
select
    * replace (
        case when count(*) over (partition by email) <= {MOST_RECORDS_OF_A_CONTACT} then email end as email,
        case when count(*) over (partition by phone) <= {MOST_RECORDS_OF_A_CONTACT} then phone end as phone
    )
from cleaned
"""


class Stages:
    """Seconds each stage of the job took, for the facts file."""

    def __init__(self):
        self.seconds = {}
        self.started = time.monotonic()

    def done(self, name):
        now = time.monotonic()
        self.seconds[name] = round(now - self.started, 3)
        self.started = now


def job_arguments(description):
    """The arguments every job takes; a job adds its own."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE.csv", help="source = file name without extension")
    parser.add_argument("--out", type=Path, metavar="clusters.csv")
    parser.add_argument("--facts", type=Path, help="write candidate pairs and stage seconds to this JSON file")
    return parser


def check_schema(file):
    """Refuses a file of another schema: settings written by hand for one say nothing about another."""
    with file.open(newline="") as lines:
        header = next(csv.reader(lines), [])
    if header != RETAIL_COLUMNS:
        raise SystemExit(f"{file.name}: this job has settings for the schema retail only, not for {','.join(header)}")


def read_and_clean(connection, files):
    """Fills the table `customers` with the cleaned records."""
    for file in files:
        check_schema(file)
    connection.execute(CLEAN_SQL, {"files": [str(file) for file in files]})


def write_clusters(path, rows):
    """Rows are source, record_id, identity_id."""
    with path.open("w", newline="") as lines:
        writer = csv.writer(lines)
        writer.writerow(["source", "record_id", "identity_id"])
        writer.writerows(rows)


def write_facts(path, candidate_pairs, stage_seconds, **more):
    """What the runner cannot see from outside; candidate_pairs is None where the tool does not tell."""
    if path:
        path.write_text(json.dumps({"candidate_pairs": candidate_pairs, "stage_seconds": stage_seconds, **more}))
