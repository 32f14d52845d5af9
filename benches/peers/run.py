#!/usr/bin/env python3
"""Runs one deduplication job with Veridem and with its peers from PyPI, in turn, and prints the comparison.

Each job is a process that reads the set's CSV files and writes who is whom; its wall time and peak memory
are taken from outside, and all results are scored by the same code against the same truth.
See README.md beside this file for the settings and for what is unequal.
"""

import argparse
import contextlib
import csv
import datetime
import hashlib
import json
import os
import platform
import shutil
import signal
import statistics
import subprocess
import sys
import threading
import time
import venv
from collections import Counter
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
REQUIREMENTS = HERE / "requirements.txt"
BASELINE = "veridem"
# What a tool is called in the table, and the package whose version is told with it.
TOOLS = {
    "veridem": ("Veridem, no settings", None),
    "splink": ("Splink, expert", "splink"),
    "splink-library": ("Splink, library comparisons", "splink"),
    "goldenmatch": ("GoldenMatch, hand-written rules", "goldenmatch"),
    "goldenmatch-none": ("GoldenMatch, no settings", "goldenmatch"),
    "custmatch": ("custmatch, with 300 labels", "custmatch"),
}
DEFAULT_TOOLS = ["veridem", "splink", "splink-library", "goldenmatch", "custmatch"]
# Set on some machines for old builds of OpenBLAS; they slow a current one down.
DROPPED_ENVIRONMENT = ["OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE"]


def main():
    arguments = parse_arguments()
    out = arguments.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    files, truth = files_of_set(arguments.set)
    python = prepare_environment(arguments.venv) if arguments.tools != [BASELINE] else None
    bench = Bench(arguments, out, files, truth, python)

    bench.run_all()
    # Only now, so that this process is still small while the jobs run: on Linux a child's peak memory
    # starts from its parent's.
    bench.score_all()

    report = bench.report()
    (out / "peers.json").write_text(json.dumps(report, indent=1) + "\n")
    table = markdown(report)
    (out / "peers.md").write_text(table)
    print(table)


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--set", required=True, type=Path, help="folder with <source>.csv files and truth.csv")
    parser.add_argument("--rounds", type=int, default=3, help="every tool runs once a round (default 3)")
    parser.add_argument(
        "--tools",
        type=lambda text: text.split(","),
        default=DEFAULT_TOOLS,
        help=f"comma-separated, of {', '.join(TOOLS)} (default {','.join(DEFAULT_TOOLS)})",
    )
    parser.add_argument("--veridem", type=Path, default=ROOT / "target/release/veridem", help="the binary")
    parser.add_argument("--u-pairs", type=float, default=1e6, help="pairs Splink samples to estimate u (default 1e6)")
    parser.add_argument("--timeout", type=float, default=1800, help="seconds a job may take (default 1800)")
    parser.add_argument("--venv", type=Path, default=ROOT / "target/peers-venv", help="made if missing or outdated")
    parser.add_argument("--out", required=True, type=Path, help="folder for peers.json, peers.md, logs and clusters")
    arguments = parser.parse_args()
    unknown = [tool for tool in arguments.tools if tool not in TOOLS]
    if unknown:
        parser.error(f"no such tool: {', '.join(unknown)}")
    if arguments.rounds < 1:
        parser.error("--rounds must be at least 1")
    return arguments


def files_of_set(folder):
    truth = folder / "truth.csv"
    files = sorted(path.resolve() for path in folder.glob("*.csv") if path.name != truth.name)
    if not files or not truth.exists():
        sys.exit(f"{folder}: needs <source>.csv files and truth.csv")
    return files, truth.resolve()


def prepare_environment(folder):
    """The virtual environment's Python; made anew when requirements.txt or this Python changed."""
    python = folder / "bin" / "python"
    stamp = folder / "requirements.sha256"
    wanted = hashlib.sha256(REQUIREMENTS.read_bytes() + sys.version.encode()).hexdigest()
    if not stamp.exists() or stamp.read_text() != wanted:
        print(f"installing {REQUIREMENTS.name} into {folder}", file=sys.stderr)
        venv.create(folder, clear=True, with_pip=True)
        install = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", REQUIREMENTS]
        subprocess.run(install, check=True)
        stamp.write_text(wanted)
    return python.absolute()


class Bench:
    """The jobs of one set: runs them, scores what they wrote, and remembers every raw figure."""

    def __init__(self, arguments, out, files, truth, python):
        self.arguments = arguments
        self.out = out
        self.files = files
        self.truth = truth
        self.python = python
        self.started = datetime.datetime.now(datetime.timezone.utc)
        self.load_before = os.getloadavg()
        self.runs = {tool: [] for tool in arguments.tools}
        self.labelling = None

    def run_all(self):
        if "custmatch" in self.runs:
            self.draw_labels()
        for number in range(1, self.arguments.rounds + 1):
            for tool, runs in self.runs.items():
                if runs and runs[-1]["failure"]:
                    continue  # It would fail again, after as long a wait.
                run = self.run(tool, number)
                runs.append(run)
                told = run["failure"] or f"{run['seconds']:.2f} s, {run['peak_rss_bytes'] / 2**30:.2f} GiB"
                print(f"round {number}, {tool}: {told}", file=sys.stderr)

    def draw_labels(self):
        """custmatch cannot run without labels. Drawing them takes a person's time, so it is not part of its job."""
        folder = self.fresh_folder("custmatch-labels")
        labels = folder / "labels.csv"
        command = [self.python, HERE / "custmatch_job.py", *self.files, "--label", self.truth, "--labels", labels]
        self.labelling = measure(command, folder, self.arguments.timeout)
        self.labelling["file"] = str(labels)

    def run(self, tool, number):
        folder = self.fresh_folder(f"{tool}-{number}")
        if tool == "custmatch" and self.labelling["failure"]:
            return {**self.labelling, "failure": f"drawing labels: {self.labelling['failure']}"}
        clusters = folder / "clusters.csv"
        facts = folder / "facts.json"
        run = measure(self.command(tool, folder, clusters, facts), folder, self.arguments.timeout)
        if tool == "veridem":
            clusters = folder / "result" / "clusters.csv"
            facts = folder / "result" / "summary.json"
        if not run["failure"] and not clusters.exists():
            run["failure"] = "it wrote no clusters"
        if not run["failure"]:
            run["clusters_file"] = str(clusters)
            run["facts"] = json.loads(facts.read_text())
        return run

    def command(self, tool, folder, clusters, facts):
        if tool == "veridem":
            return [self.arguments.veridem.resolve(), "dedupe", *self.files, "--out", folder / "result", "--json"]
        output = [*self.files, "--out", clusters, "--facts", facts]
        u_pairs = ["--u-pairs", f"{self.arguments.u_pairs:.0f}"]
        jobs = {
            "splink": ["splink_job.py", *output, "--settings", "expert", *u_pairs],
            "splink-library": ["splink_job.py", *output, "--settings", "library", *u_pairs],
            "goldenmatch": ["goldenmatch_job.py", *output, "--settings", "rules"],
            "goldenmatch-none": ["goldenmatch_job.py", *output, "--settings", "none"],
            "custmatch": ["custmatch_job.py", *output, "--labels", self.labelling["file"] if self.labelling else ""],
        }
        job, *rest = jobs[tool]
        return [self.python, HERE / job, *rest]

    def fresh_folder(self, name):
        folder = self.out / "jobs" / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        return folder

    def score_all(self):
        truth = read_groups(self.truth, "cluster")
        scores = {}
        for runs in self.runs.values():
            for run in runs:
                if run["failure"]:
                    continue
                found = read_groups(Path(run["clusters_file"]), "identity_id")
                partition = partition_digest(found, truth)
                if partition not in scores:
                    scores[partition] = score(found, truth)
                run["partition_sha256"] = partition
                run["score"] = scores[partition]

    def report(self):
        report = {
            "set": self.arguments.set.resolve().name,
            "records": count_records(self.files),
            "started": self.started.isoformat(timespec="seconds"),
            "command": ["python3", *(str(Path(word).resolve()) if Path(word).exists() else word for word in sys.argv)],
            "rounds": self.arguments.rounds,
            "git_commit": git_commit(),
            "machine": machine(self.load_before),
            "versions": self.versions(),
            "labelling": self.labelling,
            "summary": {tool: summarise(runs) for tool, runs in self.runs.items()},
            "runs": self.runs,
        }
        return json.loads(self.without_paths(json.dumps(report, ensure_ascii=False)))

    def without_paths(self, text):
        """The report is meant to be kept; where this machine's folders lie is nobody's business."""
        for place, name in [(self.arguments.set, "SET"), (self.out, "OUT"), (self.arguments.venv, "VENV"), (ROOT, ".")]:
            text = text.replace(str(place.resolve()), name)
        return text

    def versions(self):
        versions = {"python": platform.python_version(), "packages": {}}
        if "veridem" in self.runs:
            binary = self.arguments.veridem.resolve()
            versions["veridem"] = output_of([binary, "--version"])
            if binary.exists():
                # The commit is that of the source tree now; this tells which binary it was.
                versions["veridem_sha256"] = hashlib.sha256(binary.read_bytes()).hexdigest()
        if self.python:
            frozen = output_of([self.python, "-m", "pip", "freeze", "--disable-pip-version-check"]) or ""
            versions["packages"] = dict(line.split("==", 1) for line in frozen.splitlines() if "==" in line)
        return versions


def measure(command, folder, timeout):
    """Runs the command to its end: wall seconds and the peak resident memory of the process."""
    command = [str(part) for part in command]
    environment = {name: value for name, value in os.environ.items() if name not in DROPPED_ENVIRONMENT}
    # pip has compiled the packages; the jobs' own module must not leave files in the source tree.
    environment["PYTHONDONTWRITEBYTECODE"] = "1"
    load = os.getloadavg()[0]
    run = {"command": command, "load_before": round(load, 2), "failure": None}
    timed_out = threading.Event()
    with (folder / "stdout").open("wb") as stdout, (folder / "stderr").open("wb") as stderr:
        begin = time.monotonic()
        try:
            process = subprocess.Popen(
                command, cwd=folder, env=environment, stdout=stdout, stderr=stderr, start_new_session=True
            )
        except OSError as error:
            return {**run, "failure": f"cannot start: {error}"}

        def stop():
            timed_out.set()
            kill_group(process.pid)

        timer = threading.Timer(timeout, stop)
        timer.start()
        try:
            _, status, usage = os.wait4(process.pid, 0)
        except BaseException:
            kill_group(process.pid)
            raise
        finally:
            timer.cancel()
        seconds = time.monotonic() - begin
    process.returncode = os.waitstatus_to_exitcode(status)
    run.update(
        seconds=round(seconds, 3),
        user_seconds=round(usage.ru_utime, 3),
        system_seconds=round(usage.ru_stime, 3),
        peak_rss_bytes=usage.ru_maxrss * 1024,
        exit_code=process.returncode,
    )
    if timed_out.is_set():
        run["failure"] = f"stopped after {timeout:.0f} s"
    elif process.returncode != 0:
        run["failure"] = f"exit code {process.returncode}: {last_line(folder / 'stderr')}"
    return run


def kill_group(leader):
    with contextlib.suppress(ProcessLookupError):
        os.killpg(leader, signal.SIGKILL)


def last_line(path):
    lines = [line.strip() for line in path.read_text(errors="replace").splitlines() if line.strip()]
    return lines[-1][:1000] if lines else "nothing on stderr"


def read_groups(path, column):
    """{(source, record_id): group}"""
    with path.open(newline="") as lines:
        rows = csv.reader(lines)
        header = next(rows)
        source, record, group = header.index("source"), header.index("record_id"), header.index(column)
        return {(row[source], row[record]): row[group] for row in rows}


def score(found, truth):
    """Pairwise and B-cubed precision, recall and F1 from the sizes of found, true and common groups.

    A record the tool left out is a person of its own. B-cubed after Bagga and Baldwin (1998).
    """
    missing = 0
    common, found_sizes, true_sizes = Counter(), Counter(), Counter()
    for record, true_group in truth.items():
        found_group = found.get(record)
        if found_group is None:
            missing += 1
            found_group = record
        common[found_group, true_group] += 1
        found_sizes[found_group] += 1
        true_sizes[true_group] += 1

    right = pairs(common)
    found_pairs, true_pairs = pairs(found_sizes), pairs(true_sizes)
    precision = right / found_pairs if found_pairs else 1.0
    recall = right / true_pairs if true_pairs else 1.0
    b_precision = sum(size * size / found_sizes[group] for (group, _), size in common.items()) / len(truth)
    b_recall = sum(size * size / true_sizes[group] for (_, group), size in common.items()) / len(truth)
    return {
        "precision": precision,
        "recall": recall,
        "f1": harmonic_mean(precision, recall),
        "b_cubed_precision": b_precision,
        "b_cubed_recall": b_recall,
        "b_cubed_f1": harmonic_mean(b_precision, b_recall),
        "clusters": len(found_sizes),
        "largest_cluster": max(found_sizes.values()),
        "records_missing": missing,
    }


def partition_digest(found, truth):
    """The same for two results that put the same records together, whatever they call the groups."""
    numbers = {}
    digest = hashlib.sha256()
    for record in truth:
        group = found.get(record, record)
        digest.update(b"%d," % numbers.setdefault(group, len(numbers)))
    return digest.hexdigest()


def pairs(sizes):
    return sum(size * (size - 1) // 2 for size in sizes.values())


def harmonic_mean(left, right):
    return 2 * left * right / (left + right) if left + right else 0.0


def summarise(runs):
    """Medians over the runs that succeeded; the failure of the one that did not, if any."""
    failure = next((run["failure"] for run in runs if run["failure"]), None)
    good = [run for run in runs if not run["failure"]]
    summary = {"runs": len(good), "failure": failure}
    if good:
        seconds = [run["seconds"] for run in good]
        summary.update(
            median_seconds=statistics.median(seconds),
            fastest_seconds=min(seconds),
            slowest_seconds=max(seconds),
            peak_rss_bytes=max(run["peak_rss_bytes"] for run in good),
            candidate_pairs=good[-1]["facts"]["candidate_pairs"],
            different_results=len({run["partition_sha256"] for run in good}),
            score={name: statistics.median(run["score"][name] for run in good) for name in good[0]["score"]},
        )
    return summary


def count_records(files):
    records = 0
    for file in files:
        with file.open(newline="") as lines:
            records += sum(1 for _ in csv.reader(lines)) - 1
    return records


def git_commit():
    commit = output_of(["git", "-C", ROOT, "rev-parse", "HEAD"])
    if commit is None:
        return None
    changed = output_of(["git", "-C", ROOT, "status", "--porcelain", "--untracked-files=no"])
    return f"{commit[:12]} with changes" if changed else commit[:12]


def output_of(command):
    try:
        done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()


def machine(load_before):
    cpu = platform.processor() or platform.machine()
    cpu_info = Path("/proc/cpuinfo")
    if cpu_info.exists():
        named = [line for line in cpu_info.read_text().splitlines() if line.startswith("model name")]
        cpu = named[0].split(":", 1)[1].strip() if named else cpu
    return {
        "cpu": cpu,
        "cores": len(os.sched_getaffinity(0)),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "system": platform.platform(),
        "load_before": [round(load, 2) for load in load_before],
        "load_after": [round(load, 2) for load in os.getloadavg()],
    }


def markdown(report):
    host = report["machine"]
    rounds = "1 round" if report["rounds"] == 1 else f"{report['rounds']} rounds, in turn"
    lines = [
        f"{report['set']}: {report['records']:,} records, {rounds}, {host['cores']} cores"
        f" ({host['cpu']}, {host['memory_bytes'] / 2**30:.0f} GiB), {report['started'][:10]}, "
        f"commit {report['git_commit'] or 'unknown'}",
        "",
        "| tool | median s | fastest–slowest | ratio to Veridem | peak memory GiB | candidate pairs"
        " | pairs: precision | recall | F1 | B-cubed F1 |",
        "| --- " * 10 + "|",
    ]
    baseline = report["summary"].get(BASELINE, {}).get("median_seconds")
    lines += [row(report, tool, summary, baseline) for tool, summary in report["summary"].items()]
    lines += notes(report)
    return "\n".join(lines) + "\n"


def row(report, tool, summary, baseline):
    name, package = TOOLS[tool]
    version = report["versions"]["packages"].get(package) if package else report["versions"].get("veridem")
    label = f"{name} ({version.removeprefix('veridem ')})" if version else name
    if not summary["runs"]:
        return f"| {label} | failed: {cell(summary['failure'])} |" + " – |" * 8
    score_of = summary["score"]
    candidates = summary["candidate_pairs"]
    cells = [
        label + (f" – then failed: {cell(summary['failure'])}" if summary["failure"] else ""),
        f"{summary['median_seconds']:.2f}",
        f"{summary['fastest_seconds']:.2f}–{summary['slowest_seconds']:.2f}",
        f"{summary['median_seconds'] / baseline:.2f}" if baseline else "–",
        f"{summary['peak_rss_bytes'] / 2**30:.2f}",
        f"{candidates:,}" if candidates is not None else "not told",
        *(f"{score_of[name]:.4f}" for name in ("precision", "recall", "f1", "b_cubed_f1")),
    ]
    return "| " + " | ".join(cells) + " |"


def cell(text, longest=160):
    text = text.replace("|", "\\|").replace("\n", " ")
    return text if len(text) <= longest else text[:longest].rstrip() + "…"


def notes(report):
    """What a reader of the table alone must know."""
    lines = []
    for tool, summary in report["summary"].items():
        if summary.get("different_results", 1) > 1:
            lines.append(f"- {tool} gave {summary['different_results']} different results; the figures are medians.")
        missing = summary.get("score", {}).get("records_missing")
        if missing:
            lines.append(f"- {tool} left {missing:,.0f} records out; each counts as a person of its own.")
    labelling = report["labelling"]
    if labelling and not labelling["failure"]:
        lines.append(
            f"- custmatch refuses to run without labels: its 300 were drawn its way in {labelling['seconds']:.0f} s and"
            " answered from the truth, which is not in its seconds."
        )
    return ["", *lines] if lines else []


if __name__ == "__main__":
    main()
