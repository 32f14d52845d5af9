//! What the console says, in one place.

use veridem_proto::v1::{
    DeliveryState, IdentityEventKind, JobKind, JobState, ModelPhase, OverrideKind, OverrideState,
    ReviewReason, SampleStratum, StewardDecision, SurvivorshipCriterion, ValueMark,
};

use super::stated::Deed;

pub(super) const SIGN_IN: &str = "Sign in";
pub(super) const SIGN_OUT: &str = "Sign out";
pub(super) const TOKEN: &str = "Access token";
pub(super) const TENANT: &str = "Tenant";
pub(super) const SIGN_IN_WITH_TOKEN: &str =
    "Use the token that the configuration gives you as a principal.";
pub(super) const SIGN_IN_WITH_LINK: &str = "No principals are configured: the console opens with the one-time link that the service printed when it started. A used link opens nothing; each start prints a new one.";
pub(super) const SIGN_IN_AS_ADMINISTRATOR: &str = "Sign in as administrator";
pub(super) const LINK_FOLLOWS: &str =
    "This link opens one session on this machine, with the rights of an administrator.";
pub(super) const NOT_KNOWN: &str = "That token is not known, or may not use this tenant.";
pub(super) const LINK_USED: &str = "That link was used already, or is of an earlier start.";

pub(super) const QUEUE: &str = "Review queue";
pub(super) const SEARCH: &str = "Search";
pub(super) const DECISIONS: &str = "Decisions";
pub(super) const QUALITY: &str = "Quality";
pub(super) const MODEL: &str = "Model";
pub(super) const SINKS: &str = "Sinks";
pub(super) const SOURCES: &str = "Sources";
pub(super) const JOBS: &str = "Jobs";
pub(super) const NO_JOBS: &str = "No job has run since the service started: no model change or preview, sample, backup or dropped file.";
pub(super) const AUDIT: &str = "Audit log";
pub(super) const HELP: &str = "Keys";
pub(super) const SKIP_TO_CONTENT: &str = "Skip to content";

pub(super) const NOTHING_TO_REVIEW: &str = "Nothing waits for you";
pub(super) const NOTHING_TO_REVIEW_MORE: &str =
    "Every doubtful pair is decided. New ones come as signals do.";
pub(super) const NOTHING_LISTED: &str =
    "What is left does not fit the filter, or others work at it.";
pub(super) const TASK_CLOSED: &str = "This task is settled";
pub(super) const MORE: &str = "More";
pub(super) const REASON: &str = "Reason";
pub(super) const ANY_REASON: &str = "Any reason";
pub(super) const SOURCE: &str = "Source";
pub(super) const ANY_SOURCE: &str = "Any source";
pub(super) const PROBABILITY_FROM: &str = "Probability from";
pub(super) const PROBABILITY_TO: &str = "to";
pub(super) const ANY_BRAND: &str = "Any brand";
pub(super) const BRAND: &str = "Brand";
pub(super) const WAITING_DAYS: &str = "Waiting for days";
pub(super) const LEAST_RECORDS: &str = "Records, at least";
pub(super) const MINE: &str = "Mine";
pub(super) const ASSIGN_TO: &str = "Give this task to";
pub(super) const ASSIGN: &str = "Assign";
pub(super) const MORE_FILTERS: &str = "More filters";
pub(super) const SHOW: &str = "Show";

pub(super) const SAME_PERSON: &str = "Same person";
pub(super) const DIFFERENT_PERSONS: &str = "Different persons";
pub(super) const SKIP: &str = "Skip";
pub(super) const UNDO: &str = "Undo";
pub(super) const NOTHING_TO_UNDO: &str = "There is no decision of this session to take back.";
pub(super) const NOTE: &str = "Note (in the audit log)";
pub(super) const WHY: &str = "Reason";
pub(super) const NO_REASON: &str = "none given";
pub(super) const SOMEBODY_HAS_TO_AGREE: &str =
    "This concerns so many records that somebody else has to agree before it counts.";
pub(super) const AWAITS_APPROVAL: &str = "It counts once somebody else agrees";
pub(super) const APPROVE: &str = "Agree";
pub(super) const ALL_DECISIONS: &str = "All";
pub(super) const AWAITING_APPROVAL: &str = "Waiting for somebody to agree";
pub(super) const NOTHING_AWAITS: &str = "No decision waits for somebody to agree.";

pub(super) const APART: &str = "apart from";
pub(super) const NOTHING_DECIDED: &str = "No steward has decided anything yet.";

pub(super) const GOLDEN_RECORD: &str = "Golden record";
pub(super) const RECORDS: &str = "Source records";
pub(super) const PAIRS: &str = "What holds it together";
pub(super) const TIMELINE: &str = "How it came to be";
pub(super) const ENDED: &str = "This identity has ended";
pub(super) const LIVES_ON: &str = "What lives on";
pub(super) const NOTHING_LIVES_ON: &str =
    "Nothing: its person was erased, or its records are gone.";
pub(super) const LINEAGE: &str = "Steps";
pub(super) const AS_OF: &str = "As it was after event";
pub(super) const STATED: &str = "What its sources state";
pub(super) const SURVIVES: &str = "survives";
pub(super) const WEIGHTS_OF_PAIRS: &str = "Pairs by match weight, when the sample was drawn";
pub(super) const HOUSEHOLD: &str = "Lives together with";
pub(super) const DELIVERIES: &str = "Deliveries";
pub(super) const REVEAL: &str = "Show values";
pub(super) const REVEAL_WHY: &str = "Why they have to be seen (in the audit log)";
pub(super) const MASKED: &str = "Values are masked for viewers.";
pub(super) const TOO_MANY_TO_DRAW: &str = "Too many records to draw; the table below has them.";
pub(super) const CONSUMERS_CALL_THEM: &str = "Known downstream as";
pub(super) const ACCOUNTS: &str = "Accounts and consents";
pub(super) const NEIGHBOURS: &str = "Neighbours";
pub(super) const HISTORY: &str = "History of both";

pub(super) const CHOOSE: &str = "Choose";
pub(super) const CHOOSE_TO_SPLIT: &str = "Choose the records of another person to split them off.";
pub(super) const CHOOSE_SEVERAL: &str =
    "Choose two or more identities that are one person, or that live together.";
pub(super) const TOGETHER: &str = "What the chosen identities are";
pub(super) const ONE_PERSON: &str = "One person";
pub(super) const ONE_HOUSEHOLD: &str = "One household";
pub(super) const WHAT_COMES_OF_IT: &str = "What would come of it";
pub(super) const SPLIT_OFF: &str = "Split off";
pub(super) const MERGE: &str = "Merge";
pub(super) const MAKE_HOUSEHOLD: &str = "Make a household";
pub(super) const STAY_APART: &str =
    "Identities stay as they are; the two are not brought together again.";
pub(super) const NOTHING_CHANGES: &str = "Identities stay as they are.";

pub(super) const SEARCH_FOR: &str = "Name, e-mail, phone or number";
pub(super) const NOTHING_FOUND: &str = "Nobody is found.";

pub(super) const SAMPLE: &str = "Sample judged blind";
pub(super) const NO_SAMPLE: &str = "No sample was drawn yet. A sample is pairs of all kinds, judged without seeing what was decided of them: it tells how many of all decisions are right, and how many people are missed.";
pub(super) const PRECISION: &str = "Precision";
pub(super) const RECALL: &str = "Recall";
pub(super) const AGREEMENT: &str = "Two judges agree";
pub(super) const GOLD: &str = "As decided before";
pub(super) const CANNOT_TELL: &str = "Cannot tell";
pub(super) const JUDGE: &str = "Judge pairs";
pub(super) const PAIRS_TO_DRAW: &str = "Pairs";
pub(super) const DRAW: &str = "Draw a sample";
pub(super) const REALLY_DRAW: &str =
    "The sample that is judged now is not judged to its end. Draw another one?";
pub(super) const BLIND_REVIEW: &str = "Blind review";
pub(super) const NOTHING_TO_JUDGE: &str = "No pair is left for you.";
pub(super) const TO_QUALITY: &str = "What the sample tells";
pub(super) const NO_LABELS: &str = "No steward has decided on a pair yet: what is decided in the queue stands here, held against the model.";
pub(super) const LABELS_ARE_DOUBTFUL: &str = "Most of these pairs were decided because they were in doubt: among all pairs the model is right more often than here.";
pub(super) const THRESHOLDS: &str = "Thresholds tried on what was decided";
pub(super) const TRY_THRESHOLD: &str = "Try a match threshold";
pub(super) const LABELS: &str = "Labels";
pub(super) const DOWNLOAD_LABELS: &str = "Download as CSV";
pub(super) const TRAIN_WITH_LABELS: &str = "for `veridem train --labels`.";
pub(super) const ANOTHER_MODEL: &str = "Another model";
pub(super) const MODEL_FILE: &str = "Model (JSON)";
pub(super) const RULES_FILE: &str = "Rules (TOML)";
pub(super) const PREVIEW: &str = "Preview";
pub(super) const ACTIVATE: &str = "Put in force";
pub(super) const REALLY_ACTIVATE: &str = "Identities are decided anew under this model, and events tell it to every consumer. Put it in force?";
pub(super) const ACTIVATION_BEGUN: &str = "It is being put in force:";

pub(super) const NO_SINKS: &str = "No sink is configured: identity events go nowhere.";
pub(super) const UP: &str = "up";
pub(super) const DOWN: &str = "down";
pub(super) const DEAD_LETTERS: &str = "Dead letters";
pub(super) const DEAD_LETTERS_WAIT: &str =
    "Events that this sink has given up. Later events of the same identity wait behind them.";
pub(super) const NO_DEAD_LETTERS: &str = "There is none.";
pub(super) const REDRIVE: &str = "Send again";
pub(super) const REDRIVE_ALL: &str = "Send all again";
pub(super) const DISCARD: &str = "Discard";
pub(super) const REALLY_DISCARD: &str = "The consumer will never get this event. Discard it?";
pub(super) const NO_SOURCES: &str = "No source is registered: any may send any attribute.";
pub(super) const AUDIT_IS_CHAINED: &str = "Each entry holds the hash of the one before: `veridem audit verify` shows that none was changed.";

/// Keys with what they do.
pub(super) const KEYS: [(&str, &str); 8] = [
    ("j / k", "next or previous task of the list"),
    ("Enter", "work at the task; Esc goes back to the list"),
    ("m", "at a task: same person, merge"),
    ("k or d", "at a task: different persons, keep apart"),
    ("s", "at a task: skip it, it stays"),
    ("u", "undo the last decision"),
    ("/", "search"),
    ("?", "this list"),
];

pub(super) fn reason(reason: ReviewReason) -> &'static str {
    match reason {
        ReviewReason::Conflict => "Conflict",
        _ => "Uncertain",
    }
}

pub(super) fn decision(decision: StewardDecision) -> &'static str {
    match decision {
        StewardDecision::SamePerson => SAME_PERSON,
        _ => DIFFERENT_PERSONS,
    }
}

pub(super) fn event(kind: IdentityEventKind) -> &'static str {
    match kind {
        IdentityEventKind::Created => "Created",
        IdentityEventKind::Updated => "Updated",
        IdentityEventKind::Merged => "Merged",
        IdentityEventKind::Split => "Split",
        IdentityEventKind::Erased => "Erased",
        IdentityEventKind::Unspecified => "",
    }
}

pub(super) fn criterion(criterion: SurvivorshipCriterion) -> &'static str {
    match criterion {
        SurvivorshipCriterion::MostTrusted => "most trusted source",
        SurvivorshipCriterion::MostRecent => "most recent",
        SurvivorshipCriterion::MostFrequent => "most frequent",
        SurvivorshipCriterion::MostComplete => "most complete",
        SurvivorshipCriterion::RecordOrder => "first by record",
        SurvivorshipCriterion::OnlyValue => "only value",
        SurvivorshipCriterion::Pinned => "pinned by a steward",
        SurvivorshipCriterion::Unspecified => "",
    }
}

/// What can be said of a value.
pub(super) fn deed(deed: Deed) -> &'static str {
    match deed {
        Deed::Pin => "Let it survive",
        Deed::Shared => "Shared",
        Deed::Junk => "Junk",
    }
}

/// What is said of a value.
pub(super) fn mark(mark: ValueMark) -> Option<&'static str> {
    match mark {
        ValueMark::Shared => Some("shared"),
        ValueMark::Junk => Some("junk"),
        ValueMark::Unspecified => None,
    }
}

/// What an override says of its records, where that is not who they are.
pub(super) fn said(kind: OverrideKind) -> Option<&'static str> {
    match kind {
        OverrideKind::Pin => Some("survives"),
        OverrideKind::SharedValue => Some("shared value"),
        OverrideKind::JunkValue => Some("junk value"),
        OverrideKind::Household => Some("live together"),
        OverrideKind::Persons | OverrideKind::Unspecified => None,
    }
}

/// What a job does.
pub(super) fn job_kind(kind: JobKind) -> &'static str {
    match kind {
        JobKind::ModelPreview => "model preview",
        JobKind::ModelChange => "model change",
        JobKind::Sample => "sample to judge",
        JobKind::Backup => "backup",
        JobKind::FileDrop => "dropped file",
        JobKind::Unspecified => "",
    }
}

/// Whether a job runs, and how it ended.
pub(super) fn job_state(state: JobState) -> &'static str {
    match state {
        JobState::Running => "running",
        JobState::Done => "done",
        JobState::Stopped => "stopped",
        JobState::Failed => "failed",
        JobState::Unspecified => "",
    }
}

/// Identities that a preview does not show.
pub(super) fn more_identities(count: usize) -> String {
    format!("And {count} more.")
}

pub(super) fn override_state(state: OverrideState) -> &'static str {
    match state {
        OverrideState::InForce => "in force",
        OverrideState::WithoutRecords => "without records",
        OverrideState::Superseded => "superseded",
        OverrideState::Contradicted => "contradicted",
        OverrideState::Undone => "undone",
        OverrideState::AwaitsApproval => "waits for somebody to agree",
        OverrideState::Unspecified => "",
    }
}

pub(super) fn delivery_state(state: DeliveryState) -> &'static str {
    match state {
        DeliveryState::Delivered => "delivered",
        DeliveryState::Waiting => "waiting",
        DeliveryState::Retrying => "tried again",
        DeliveryState::DeadLetter => "given up",
        DeliveryState::LeftOut => "not wanted",
        DeliveryState::Unspecified => "",
    }
}

/// What a graph shows, in words.
pub(super) fn graph(nodes: usize, edges: usize, weak: usize) -> String {
    let pairs = match edges {
        1 => "1 pair".to_owned(),
        edges => format!("{edges} pairs"),
    };
    let nodes = records(nodes);
    match weak {
        0 => format!("{nodes}, {pairs}"),
        1 => format!("{nodes}, {pairs}; 1 weak pair alone holds two parts together"),
        weak => format!("{nodes}, {pairs}; {weak} weak pairs alone hold parts together"),
    }
}

pub(super) fn weight_of(weight: &str, is_weak: bool) -> String {
    match is_weak {
        true => format!("weight {weight}, alone holds two parts together"),
        false => format!("weight {weight}"),
    }
}

pub(super) fn model_phase(phase: ModelPhase) -> &'static str {
    match phase {
        ModelPhase::Weighing => "weighing pairs",
        ModelPhase::Deciding => "deciding identities",
        ModelPhase::Removing => "removing what the old model has left",
        ModelPhase::Done => "in force",
        ModelPhase::Refused => "refused: it would have changed too much",
        ModelPhase::Unspecified => "",
    }
}

pub(super) fn labels(all: usize, matches: usize, agreed: usize) -> String {
    format!(
        "{all} pairs decided by stewards: {matches} the same person, {} different persons. The model in force would have decided {agreed} of them by itself, the same way.",
        all - matches
    )
}

pub(super) fn stratum(stratum: SampleStratum) -> &'static str {
    match stratum {
        SampleStratum::TogetherSure => "Hold an identity together, surely",
        SampleStratum::TogetherUnsure => "Hold an identity together, less surely",
        SampleStratum::ApartDoubtful => "Between two identities, doubtful",
        SampleStratum::ApartBelow => "Candidates below the review threshold",
        SampleStratum::Unspecified => "",
    }
}

pub(super) fn sample(number: u64, drawn_by: &str, open: u64) -> String {
    let open = match open {
        0 => "all judged".to_owned(),
        1 => "1 pair waits".to_owned(),
        open => format!("{open} pairs wait"),
    };
    format!("Sample {number}: {open}; drawn by {drawn_by}")
}

pub(super) fn progress(judged: u32, open: u32) -> String {
    format!("{judged} judged, {open} left for you. Your answers change no identity.")
}

pub(super) fn assigned(principal: &str) -> String {
    format!("The task is {principal}'s for eight hours, or until it is decided.")
}

pub(super) fn works_at_it(principal: &str) -> String {
    format!("{principal} works at this task.")
}

/// A slot or a comparison, for people: `birth_date` is "Birth date", `identifier.loyalty` is "Loyalty".
pub(super) fn slot(slot: &str) -> String {
    let name = match slot.split_once('.') {
        Some((_, name)) if !name.is_empty() => name,
        _ => slot,
    };
    let mut letters = name.chars();
    let first = letters
        .next()
        .map(|letter| letter.to_uppercase().to_string());
    let rest = letters.as_str().replace('_', " ");
    first.unwrap_or_default() + &rest
}

pub(super) fn found(count: usize) -> String {
    match count {
        1 => "1 identity".to_owned(),
        count => format!("{count} identities"),
    }
}

pub(super) fn records(count: usize) -> String {
    match count {
        1 => "1 record".to_owned(),
        count => format!("{count} records"),
    }
}
