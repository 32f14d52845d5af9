//! The index over tantivy. Postings are walked as sets (no scores, no top-k); what is not committed yet lies in an overlay in
//! memory that wins over what is.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::{Mutex, RwLock};
use rustc_hash::{FxHashMap, FxHashSet};
use tantivy::columnar::Column;
use tantivy::directory::MmapDirectory;
use tantivy::fastfield::AliveBitSet;
use tantivy::merge_policy::LogMergePolicy;
use tantivy::postings::TermInfo;
use tantivy::schema::{
    FAST, Field, INDEXED, IndexRecordOption, NumericOptions, Schema, TextFieldIndexing, TextOptions,
};
use tantivy::{
    DocId, DocSet, Index, IndexReader, IndexWriter, InvertedIndexReader, ReloadPolicy, Searcher,
    TERMINATED, TantivyDocument, Term,
};
use veridem_matchers::block::BlockingKey;

use super::memory_index::{Documents, best, relevant};
use super::search::{Forgiving, Wanted};
use super::{CandidateIndex, IndexDocument, IndexError, Indexes};
use crate::store::{Generation, RecordNumber, Tenant};

/// Memory that tantivy may fill before it writes a segment.
const WRITER_MEMORY_BYTES: usize = 32 << 20;
/// Documents that the overlay forgets while others wait for it.
const FORGOTTEN_AT_ONCE: usize = 64;
/// Words of a dictionary that are looked at for one word of a query, and those of them that are followed: the best.
const MAX_TERMS_READ: usize = 20_000;
const MAX_TERMS: usize = 64;
/// Records of a segment that one word of a query may bring.
const MAX_SEARCH_CANDIDATES: usize = 100_000;

#[derive(Clone, Copy)]
struct Fields {
    number: Field,
    key: Field,
    name: Field,
    code: Field,
}

/// A segment's parts, opened once: opening a column reads all of its blocks.
struct Segment {
    keys: Arc<InvertedIndexReader>,
    names: Arc<InvertedIndexReader>,
    codes: Arc<InvertedIndexReader>,
    numbers: Column<u64>,
    living: Option<AliveBitSet>,
}

/// The documents of a segment that answer a word of a query, or all of them, with how well.
type Answering = FxHashMap<DocId, f64>;

/// The words of a dictionary that answer a word of a query, the best first; of equally good ones the most frequent. Those that begin with
/// it are read before those that are only like it.
fn answering_terms(
    dictionary: &InvertedIndexReader,
    (beginning, forgiving): (Option<&str>, Option<&Forgiving>),
    similarity: impl Fn(&str) -> f64,
) -> Result<Vec<(f64, TermInfo)>, IndexError> {
    let mut found = Vec::new();
    let mut take = |term: &[u8], info: &TermInfo| {
        let word = std::str::from_utf8(term).unwrap_or_default();
        let similarity = similarity(word);
        if similarity > 0.0 {
            found.push((similarity, info.clone()));
        }
    };
    let is_beginning =
        |term: &[u8]| beginning.is_some_and(|beginning| term.starts_with(beginning.as_bytes()));
    if let Some(beginning) = beginning {
        let terms = dictionary.terms().range().ge(beginning);
        let mut terms = terms.into_stream().map_err(failed)?;
        let mut read = 0;
        while read < MAX_TERMS_READ && terms.advance() && is_beginning(terms.key()) {
            read += 1;
            take(terms.key(), terms.value());
        }
    }
    if let Some(forgiving) = forgiving {
        let terms = dictionary.terms().search(forgiving);
        let mut terms = terms.into_stream().map_err(failed)?;
        let mut read = 0;
        while read < MAX_TERMS_READ && terms.advance() {
            read += 1;
            if !is_beginning(terms.key()) {
                take(terms.key(), terms.value());
            }
        }
    }
    found.sort_by(|(left, one), (right, other)| {
        (right.total_cmp(left)).then(other.doc_freq.cmp(&one.doc_freq))
    });
    found.truncate(MAX_TERMS);
    Ok(found)
}

impl Segment {
    fn is_alive(&self, document: DocId) -> bool {
        let living = self.living.as_ref();
        living.is_none_or(|living| living.is_alive(document))
    }

    /// The documents that answer a word of a query.
    fn answering(&self, wanted: &Wanted) -> Result<Answering, IndexError> {
        let among_names = |name: &str| wanted.similarity_to_name(name);
        let among_codes = |code: &str| wanted.similarity_to_code(code);
        let names = answering_terms(&self.names, wanted.among_names(), among_names)?;
        let codes = answering_terms(&self.codes, wanted.among_codes(), among_codes)?;
        let names = names.into_iter().map(|term| (term, &self.names));
        let codes = codes.into_iter().map(|term| (term, &self.codes));
        let mut terms: Vec<_> = names.chain(codes).collect();
        terms.sort_by(|((left, _), _), ((right, _), _)| right.total_cmp(left));
        let mut found = Answering::default();
        for ((similarity, term), dictionary) in terms {
            let postings = dictionary.read_postings_from_terminfo(&term, IndexRecordOption::Basic);
            let mut postings = postings.map_err(failed)?;
            let mut document = postings.doc();
            while document != TERMINATED && found.len() < MAX_SEARCH_CANDIDATES {
                if self.is_alive(document) {
                    // The best word of a document counts: they come best first.
                    found.entry(document).or_insert(similarity);
                }
                document = postings.advance();
            }
        }
        Ok(found)
    }

    /// The documents that answer every word of a query.
    fn search(&self, query: &[Wanted]) -> Result<Answering, IndexError> {
        let mut all: Option<Answering> = None;
        for wanted in query {
            let found = self.answering(wanted)?;
            let both = match all {
                None => found,
                Some(mut before) => {
                    before.retain(|document, sum| {
                        let similarity = found.get(document);
                        *sum += similarity.copied().unwrap_or_default();
                        similarity.is_some()
                    });
                    before
                }
            };
            if both.is_empty() {
                return Ok(both);
            }
            all = Some(both);
        }
        Ok(all.unwrap_or_default())
    }
}

struct State {
    searcher: Searcher,
    segments: Arc<[Segment]>,
    overlay: Documents,
    last_change: u64,
}

/// The index of one tenant in a directory.
pub struct TantivyIndex {
    fields: Fields,
    index: Index,
    reader: IndexReader,
    /// Only empty between two writers.
    writer: Mutex<Option<IndexWriter>>,
    state: RwLock<State>,
    committed_change: std::sync::atomic::AtomicU64,
}

/// Indexes in a directory: one directory a tenant and generation.
pub struct TantivyIndexes(PathBuf);

impl TantivyIndexes {
    /// Those in a directory.
    pub fn new(directory: PathBuf) -> Self {
        Self(directory)
    }

    fn directory_of(&self, tenant: &Tenant, generation: Generation) -> PathBuf {
        self.0.join(match generation.0 {
            0 => tenant.as_str().to_owned(),
            // No tenant's name has a point.
            later => format!("{}.{later}", tenant.as_str()),
        })
    }
}

impl Indexes for TantivyIndexes {
    fn open(
        &self,
        tenant: &Tenant,
        generation: Generation,
    ) -> Result<Arc<dyn CandidateIndex>, IndexError> {
        let directory = self.directory_of(tenant, generation);
        Ok(Arc::new(TantivyIndex::open_or_rebuild(&directory)?))
    }

    fn remove(&self, tenant: &Tenant, generation: Generation) -> Result<(), IndexError> {
        match std::fs::remove_dir_all(self.directory_of(tenant, generation)) {
            Err(cause) if cause.kind() != std::io::ErrorKind::NotFound => Err(failed(cause)),
            _ => Ok(()),
        }
    }
}

fn failed(cause: impl std::fmt::Display) -> IndexError {
    IndexError(cause.to_string())
}

fn schema() -> (Schema, Fields) {
    let mut builder = Schema::builder();
    let raw = TextFieldIndexing::default()
        .set_tokenizer("raw")
        .set_index_option(IndexRecordOption::Basic)
        .set_fieldnorms(false);
    let text = TextOptions::default().set_indexing_options(raw);
    let fields = Fields {
        number: builder.add_u64_field("number", FAST | INDEXED),
        key: builder.add_u64_field("key", NumericOptions::default().set_indexed()),
        name: builder.add_text_field("name", text.clone()),
        code: builder.add_text_field("code", text),
    };
    (builder.build(), fields)
}

fn segments(searcher: &Searcher, fields: Fields) -> Result<Arc<[Segment]>, IndexError> {
    let readers = searcher.segment_readers().iter();
    readers
        .map(|reader| {
            Ok(Segment {
                keys: reader.inverted_index(fields.key).map_err(failed)?,
                names: reader.inverted_index(fields.name).map_err(failed)?,
                codes: reader.inverted_index(fields.code).map_err(failed)?,
                numbers: reader.fast_fields().u64("number").map_err(failed)?,
                living: reader.alive_bitset().cloned(),
            })
        })
        .collect()
}

fn writer_of(index: &Index) -> Result<IndexWriter, IndexError> {
    let writer: IndexWriter = index
        .writer_with_num_threads(1, WRITER_MEMORY_BYTES)
        .map_err(failed)?;
    // Few segments: every look-up of a key asks each of them.
    let mut policy = LogMergePolicy::default();
    policy.set_min_num_segments(4);
    writer.set_merge_policy(Box::new(policy));
    Ok(writer)
}

impl TantivyIndex {
    /// Opens the index in a directory, or makes an empty one: also where what lies there is damaged or of another version, as
    /// the store has everything that it held.
    pub fn open_or_rebuild(directory: &Path) -> Result<Self, IndexError> {
        std::fs::create_dir_all(directory).map_err(failed)?;
        match Self::open(directory) {
            Ok(index) => Ok(index),
            Err(cause) => {
                tracing::warn!(%cause, "index cannot be opened and is built anew from the store");
                std::fs::remove_dir_all(directory).map_err(failed)?;
                std::fs::create_dir_all(directory).map_err(failed)?;
                Self::open(directory)
            }
        }
    }

    fn open(directory: &Path) -> Result<Self, IndexError> {
        let (schema, fields) = schema();
        let index = Index::open_or_create(MmapDirectory::open(directory).map_err(failed)?, schema)
            .map_err(failed)?;
        let payload = index.load_metas().map_err(failed)?.payload;
        let committed = payload
            .and_then(|payload| payload.parse().ok())
            .unwrap_or(0);
        let writer = writer_of(&index)?;
        let reader: IndexReader = index
            .reader_builder()
            .reload_policy(ReloadPolicy::Manual)
            .try_into()
            .map_err(failed)?;
        let searcher = reader.searcher();
        let state = State {
            segments: segments(&searcher, fields)?,
            searcher,
            overlay: Documents::default(),
            last_change: committed,
        };
        Ok(Self {
            fields,
            index,
            reader,
            writer: Mutex::new(Some(writer)),
            state: RwLock::new(state),
            committed_change: committed.into(),
        })
    }

    fn add(&self, writer: &IndexWriter, document: &IndexDocument) -> Result<(), IndexError> {
        if document.is_removal() {
            return Ok(());
        }
        let mut indexed = TantivyDocument::default();
        indexed.add_u64(self.fields.number, document.number);
        for key in &document.keys {
            indexed.add_u64(self.fields.key, *key);
        }
        for name in &document.words.names {
            indexed.add_text(self.fields.name, name);
        }
        for code in &document.words.codes {
            indexed.add_text(self.fields.code, code);
        }
        writer.add_document(indexed).map_err(failed)?;
        Ok(())
    }

    /// Commits what was added; what lies in the overlay up to the change is in it.
    fn finish(&self, writer: &mut IndexWriter, change: u64) -> Result<(), IndexError> {
        let mut prepared = writer.prepare_commit().map_err(failed)?;
        prepared.set_payload(&change.to_string());
        prepared.commit().map_err(failed)?;
        self.show(change)
    }

    /// Shows readers what is committed.
    fn show(&self, change: u64) -> Result<(), IndexError> {
        self.reader.reload().map_err(failed)?;
        let searcher = self.reader.searcher();
        let segments = segments(&searcher, self.fields)?;
        let mut state = self.state.write();
        state.segments = segments;
        state.searcher = searcher;
        state.last_change = state.last_change.max(change);
        self.committed_change
            .store(change, std::sync::atomic::Ordering::Release);
        // What lies in the overlay wins over the same in the segments: it may go bit by bit, and nobody waits for long.
        let committed = state.overlay.made_until(change);
        drop(state);
        for some in committed.chunks(FORGOTTEN_AT_ONCE) {
            self.state.write().overlay.forget(some, change);
        }
        Ok(())
    }
}

impl CandidateIndex for TantivyIndex {
    fn holders(&self, key: BlockingKey, limit: usize) -> Result<Vec<RecordNumber>, IndexError> {
        let state = self.state.read();
        let mut found: Vec<RecordNumber> = state.overlay.holders(key).take(limit).collect();
        let term = Term::from_field_u64(self.fields.key, key);
        for segment in state.segments.iter() {
            let Some(mut postings) = segment
                .keys
                .read_postings(&term, IndexRecordOption::Basic)
                .map_err(failed)?
            else {
                continue;
            };
            let mut document = postings.doc();
            while document != TERMINATED && found.len() < limit {
                if segment.is_alive(document)
                    && let Some(number) = segment.numbers.first(document)
                    && !state.overlay.contains(number)
                {
                    found.push(number);
                }
                document = postings.advance();
            }
        }
        Ok(found)
    }

    fn search(&self, query: &[String], limit: usize) -> Result<Vec<RecordNumber>, IndexError> {
        // Whoever searches holds nobody up who writes.
        let (segments, newer) = {
            let state = self.state.read();
            (state.segments.clone(), state.overlay.snapshot())
        };
        let query = Wanted::all(query);
        let mut found: Vec<(RecordNumber, f64)> = relevant(newer.iter(), &query).collect();
        let newer: FxHashSet<RecordNumber> = newer.iter().map(|document| document.number).collect();
        for segment in segments.iter() {
            let answering = segment.search(&query)?;
            found.extend(answering.into_iter().filter_map(|(document, sum)| {
                let number = segment.numbers.first(document)?;
                (!newer.contains(&number)).then_some((number, sum / query.len() as f64))
            }));
        }
        Ok(best(found, limit))
    }

    fn stage(&self, document: IndexDocument, change: u64) {
        let mut state = self.state.write();
        state.overlay.stage(document, change);
        state.last_change = change;
    }

    fn replace_all(
        &self,
        next_batch: &mut dyn FnMut() -> Result<Vec<IndexDocument>, IndexError>,
        change: u64,
    ) -> Result<(), IndexError> {
        let mut slot = self.writer.lock();
        let mut writer = slot.take().map_or_else(|| writer_of(&self.index), Ok)?;
        let added = (|| {
            writer.delete_all_documents().map_err(failed)?;
            loop {
                let batch = next_batch()?;
                if batch.is_empty() {
                    return Ok(());
                }
                for document in &batch {
                    self.add(&writer, document)?;
                }
            }
        })();
        if let Err(cause) = added {
            writer.rollback().map_err(failed)?;
            *slot = Some(writer);
            return Err(cause);
        }
        self.finish(&mut writer, change)?;
        // Segments are merged in the background; once they are, the files are at rest and what follows finds few of them.
        writer.wait_merging_threads().map_err(failed)?;
        *slot = Some(writer_of(&self.index)?);
        self.show(change)
    }

    fn commit(&self) -> Result<u64, IndexError> {
        let mut slot = self.writer.lock();
        let writer = match &mut *slot {
            Some(writer) => writer,
            None => slot.insert(writer_of(&self.index)?),
        };
        let (documents, last_change) = {
            let state = self.state.read();
            (state.overlay.snapshot(), state.last_change)
        };
        if documents.is_empty() {
            return Ok(self.committed_change());
        }
        for document in &documents {
            writer.delete_term(Term::from_field_u64(self.fields.number, document.number));
            self.add(writer, document)?;
        }
        self.finish(writer, last_change)?;
        Ok(last_change)
    }

    fn committed_change(&self) -> u64 {
        self.committed_change
            .load(std::sync::atomic::Ordering::Acquire)
    }
}
