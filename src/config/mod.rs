//! Configuration in two stages: what a person wrote (`WrittenConfig`), and what we run with ([`Config`]). Every mistake is
//! reported at once.

mod consumers;
mod drops;
mod sinks;
mod sources;
mod stewardship;

pub use sinks::mapping_named;
pub use stewardship::StewardshipSettings;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use bytesize::ByteSize;
use serde::Deserialize;
use veridem_matchers::{Model, Pack};

use crate::intake::{ConsumerSettings, DropSettings, SourceSettings};
use crate::objects::ObjectsPlace;
use crate::publish::{SinkKind, SinkSettings};
use crate::resolver::Matcher;
use crate::store::{StoreEngine, Tenant};
use crate::telemetry::LogFormat;
use consumers::WrittenConsumer;
use drops::WrittenDrop;
use sinks::WrittenSink;
use sources::WrittenSource;
use stewardship::WrittenStewardship;

/// The variable that names the configuration file where `--config` does not.
pub const CONFIG_VARIABLE: &str = "VERIDEM_CONFIG";

/// What stands in `veridem.toml`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct WrittenConfig {
    data_directory: Option<PathBuf>,
    grpc_address: Option<SocketAddr>,
    http_address: Option<SocketAddr>,
    model: Option<PathBuf>,
    rules: Option<PathBuf>,
    store_engine: Option<StoreEngine>,
    cache: Option<String>,
    index_commit_interval: Option<String>,
    model_change_limit: Option<f64>,
    shutdown_deadline: Option<String>,
    log_filter: Option<String>,
    log_format: Option<LogFormat>,
    principals: Vec<WrittenPrincipal>,
    sinks: Vec<WrittenSink>,
    sources: Vec<WrittenSource>,
    consumers: Vec<WrittenConsumer>,
    drops: Vec<WrittenDrop>,
    stewardship: WrittenStewardship,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenPrincipal {
    name: String,
    token: Option<String>,
    token_file: Option<PathBuf>,
    #[serde(default = "default_tenants")]
    tenants: Vec<String>,
    #[serde(default)]
    role: Role,
}

fn default_tenants() -> Vec<String> {
    vec![Tenant::default_tenant().into()]
}

/// What a principal is there for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// A system that sends signals, asks who somebody is, and follows the identity events.
    #[default]
    Service,
    /// Somebody who looks.
    Viewer,
    /// Somebody who decides on persons.
    Steward,
    /// Somebody who answers for stewards and for flows.
    Lead,
    /// Somebody who may do everything.
    Administrator,
}

impl Role {
    /// Its name in the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Service => "service",
            Self::Viewer => "viewer",
            Self::Steward => "steward",
            Self::Lead => "lead",
            Self::Administrator => "administrator",
        }
    }
}

/// Someone who may call.
#[derive(Clone)]
pub struct Principal {
    /// The name that audit and overrides carry.
    pub name: String,
    /// The bearer token.
    pub token: String,
    /// The tenants whose data the principal may use.
    pub tenants: Vec<Tenant>,
    /// What the principal may do there.
    pub role: Role,
}

/// What we run with.
#[derive(Clone)]
pub struct Config {
    /// Where store and index live.
    pub data_directory: PathBuf,
    /// gRPC listens here.
    pub grpc_address: SocketAddr,
    /// Metrics and health listen here.
    pub http_address: SocketAddr,
    /// A trained model.
    pub model: Model,
    /// Rules and survivorship.
    pub pack: Pack,
    /// The engine of a new store; one that exists is opened with the engine that made it.
    pub store_engine: StoreEngine,
    /// Bound of the store's caches, bytes.
    pub cache_bytes: u64,
    /// How often the index is made durable.
    pub index_commit_interval: Duration,
    /// The share of identities that another model may end or split where the call does not say.
    pub model_change_limit: f64,
    /// How long a stop waits for calls that run.
    pub shutdown_deadline: Duration,
    /// `tracing_subscriber::EnvFilter` syntax.
    pub log_filter: String,
    /// How log lines look.
    pub log_format: LogFormat,
    /// Who may call; empty: anyone on this machine, for the default tenant.
    pub principals: Vec<Principal>,
    /// Where events are published.
    pub sinks: Vec<SinkSettings>,
    /// Who may send what; empty: anyone anything.
    pub sources: Vec<SourceSettings>,
    /// Where signals are taken from.
    pub consumers: Vec<ConsumerSettings>,
    /// Where files are taken from.
    pub drops: Vec<DropSettings>,
    /// What holds for the decisions of stewards.
    pub stewardship: StewardshipSettings,
}

/// Everything that is wrong with a configuration.
#[derive(Debug, thiserror::Error)]
#[error("{}", .0.join("\n"))]
pub struct ConfigError(pub Vec<String>);

impl Config {
    /// What runs where nothing is configured, with its data in a directory.
    pub fn for_directory(data_directory: PathBuf) -> Self {
        Self {
            data_directory,
            grpc_address: SocketAddr::from(([127, 0, 0, 1], 50_051)),
            http_address: SocketAddr::from(([127, 0, 0, 1], 8_080)),
            model: Matcher::shipped_model(),
            pack: Pack::retail(),
            store_engine: StoreEngine::default(),
            cache_bytes: ByteSize::mib(1_280).as_u64(),
            index_commit_interval: Duration::from_secs(15),
            model_change_limit: 0.05,
            shutdown_deadline: Duration::from_secs(10),
            log_filter: "info,tantivy=warn".to_owned(),
            log_format: LogFormat::Text,
            principals: Vec::new(),
            sinks: Vec::new(),
            sources: Vec::new(),
            consumers: Vec::new(),
            drops: Vec::new(),
            stewardship: StewardshipSettings::default(),
        }
    }

    /// Reads a configuration file's text. Files that it names are read too.
    pub fn from_toml(text: &str) -> Result<Self, ConfigError> {
        let written: WrittenConfig =
            toml::from_str(text).map_err(|cause| ConfigError(vec![cause.to_string()]))?;
        let mut mistakes = Mistakes::default();
        let mut config = Self::for_directory(
            written
                .data_directory
                .unwrap_or_else(|| PathBuf::from("veridem-data")),
        );
        config.grpc_address = written.grpc_address.unwrap_or(config.grpc_address);
        config.http_address = written.http_address.unwrap_or(config.http_address);
        if let Some(model) = mistakes.read(written.model, "model", |text| {
            Model::from_json(text).map_err(|cause| cause.to_string())
        }) {
            config.model = model;
        }
        if let Some(pack) = mistakes.read(written.rules, "rules", |text| {
            Pack::from_toml(text).map_err(|cause| cause.to_string())
        }) {
            config.pack = pack;
        }
        config.store_engine = written.store_engine.unwrap_or(config.store_engine);
        if let Some(cache) = mistakes.parse(written.cache, "cache", "64MiB", |text| {
            text.parse::<ByteSize>().ok()
        }) {
            config.cache_bytes = cache.as_u64();
        }
        let duration = |mistakes: &mut Mistakes, value, field, known: &mut Duration| {
            *known = mistakes.duration(value, field, "500ms").unwrap_or(*known);
        };
        duration(
            &mut mistakes,
            written.index_commit_interval,
            "index_commit_interval",
            &mut config.index_commit_interval,
        );
        duration(
            &mut mistakes,
            written.shutdown_deadline,
            "shutdown_deadline",
            &mut config.shutdown_deadline,
        );
        if let Some(limit) = written.model_change_limit {
            if !(limit > 0.0 && limit <= 1.0) {
                mistakes.add("model_change_limit", "must be above 0 and at most 1");
            }
            config.model_change_limit = limit;
        }
        config.log_filter = written.log_filter.unwrap_or(config.log_filter);
        config.log_format = written.log_format.unwrap_or(config.log_format);
        config.principals = written
            .principals
            .into_iter()
            .enumerate()
            .filter_map(|(index, principal)| mistakes.principal(index, principal))
            .collect();
        config.consumers = written
            .consumers
            .into_iter()
            .enumerate()
            .filter_map(|(index, consumer)| mistakes.consumer(index, consumer))
            .collect();
        config.drops = written
            .drops
            .into_iter()
            .enumerate()
            .filter_map(|(index, files)| mistakes.drop(index, files))
            .collect();
        config.sources = written
            .sources
            .into_iter()
            .enumerate()
            .map(|(index, source)| mistakes.source(index, source))
            .collect();
        for (index, mut sink) in written.sinks.into_iter().enumerate() {
            let brands = std::mem::take(&mut sink.brands);
            if let Some(mut sink) = mistakes.sink(index, sink) {
                let of_tenant = config.sources.iter();
                let of_tenant = of_tenant.filter(|source| source.tenant == sink.tenant);
                let sources = mistakes.sources_of(index, &brands, of_tenant);
                sink.filter.sources.extend(sources);
                config.sinks.push(sink);
            }
        }
        config.stewardship = mistakes.stewardship(written.stewardship);
        mistakes.check(&config);
        if mistakes.0.is_empty() {
            Ok(config)
        } else {
            Err(ConfigError(mistakes.0))
        }
    }
}

/// The configuration file that the environment names.
pub fn path_from_environment() -> Option<PathBuf> {
    std::env::var_os(CONFIG_VARIABLE).map(PathBuf::from)
}

#[derive(Default)]
struct Mistakes(Vec<String>);

impl Mistakes {
    fn add(&mut self, field: impl std::fmt::Display, problem: impl std::fmt::Display) {
        self.0.push(format!("{field}: {problem}"));
    }

    fn parse<T>(
        &mut self,
        value: Option<String>,
        field: &str,
        example: &str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Option<T> {
        let value = value?;
        let parsed = parse(&value);
        if parsed.is_none() {
            self.add(field, format!("cannot read \"{value}\"; write a number with its unit, for example \"{example}\""));
        }
        parsed
    }

    fn duration(&mut self, value: Option<String>, field: &str, example: &str) -> Option<Duration> {
        self.parse(value, field, example, |text| {
            humantime::parse_duration(text).ok()
        })
    }

    /// One that may not be zero.
    fn positive_duration(
        &mut self,
        value: Option<String>,
        field: &str,
        example: &str,
    ) -> Option<Duration> {
        self.parse(value, field, example, |text| {
            let duration = humantime::parse_duration(text).ok()?;
            (!duration.is_zero()).then_some(duration)
        })
    }

    fn read<T>(
        &mut self,
        path: Option<PathBuf>,
        field: &str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Option<T> {
        let path = path?;
        let parsed = std::fs::read_to_string(&path)
            .map_err(|cause| cause.to_string())
            .and_then(|text| parse(&text));
        parsed
            .map_err(|problem| self.add(field, format!("{}: {problem}", path.display())))
            .ok()
    }

    /// A secret given in place or in a file, of which one is needed at most.
    fn secret(
        &mut self,
        field: &str,
        value: Option<String>,
        file: Option<PathBuf>,
    ) -> Option<String> {
        match (value, file) {
            (Some(_), Some(_)) => {
                self.add(field, "is given twice, in place and as a file");
                None
            }
            (None, file) => self.read(file, &format!("{field}_file"), |text| {
                Ok(text.trim().to_owned())
            }),
            (value, None) => value,
        }
    }

    /// The sources that serve some brands.
    fn sources_of<'a>(
        &mut self,
        index: usize,
        brands: &[String],
        sources: impl Iterator<Item = &'a SourceSettings> + Clone,
    ) -> Vec<String> {
        let mut names = Vec::new();
        for brand in brands {
            let of_brand = sources
                .clone()
                .filter(|source| source.brand.as_ref() == Some(brand));
            let before = names.len();
            names.extend(of_brand.map(|source| source.name.clone()));
            if names.len() == before {
                let problem = format!("no [[sources]] has the brand \"{brand}\"");
                self.add(format!("sinks[{index}].brands"), problem);
            }
        }
        names
    }

    /// Holds the fields that are given against those that something needs or may have.
    fn check_fields(
        &mut self,
        place: &str,
        what: &str,
        given: &[(&str, bool)],
        needed: &[&str],
        possible: &[&str],
    ) {
        for (field, is_given) in given {
            if needed.contains(field) && !is_given {
                self.add(
                    format!("{place}.{field}"),
                    format!("is missing; a {what} needs it"),
                );
            }
            if *is_given && !needed.contains(field) && !possible.contains(field) {
                self.add(
                    format!("{place}.{field}"),
                    format!("does not belong to a {what}"),
                );
            }
        }
    }

    /// A folder or a place in object storage, with options in place and in a file.
    fn objects(
        &mut self,
        place: &str,
        url: String,
        mut options: BTreeMap<String, String>,
        file: Option<PathBuf>,
    ) -> ObjectsPlace {
        let field = format!("{place}.options_file");
        let secret: Option<BTreeMap<String, String>> = self.read(file, &field, |text| {
            // What a file of secrets holds is not told.
            toml::from_str(text).map_err(|_| "is no list of NAME = \"VALUE\"".to_owned())
        });
        options.extend(secret.unwrap_or_default());
        let objects = ObjectsPlace { url, options };
        if let Err(problem) = objects.check() {
            self.add(format!("{place}.url"), problem);
        }
        objects
    }

    fn check_feature(&mut self, place: &str, missing: Option<&'static str>) {
        if let Some(feature) = missing {
            self.add(
                format!("{place}.kind"),
                format!("this veridem is built without it; build with --features {feature}"),
            );
        }
    }

    fn tenant(&mut self, field: &str, name: String) -> Option<Tenant> {
        Tenant::try_from(name)
            .map_err(|problem| self.add(field, problem))
            .ok()
    }

    fn principal(&mut self, index: usize, written: WrittenPrincipal) -> Option<Principal> {
        let place = format!("principals[{index}]");
        if written.token.is_none() && written.token_file.is_none() {
            self.add(
                format!("{place}.token"),
                "is missing; give token or token_file",
            );
            return None;
        }
        let token = self.secret(&format!("{place}.token"), written.token, written.token_file)?;
        if token.len() < 16 {
            self.add(format!("{place}.token"), "is shorter than 16 characters");
        }
        let tenants: Vec<Tenant> = written
            .tenants
            .into_iter()
            .filter_map(|tenant| self.tenant(&format!("{place}.tenants"), tenant))
            .collect();
        Some(Principal {
            name: written.name,
            token,
            tenants,
            role: written.role,
        })
    }

    fn check(&mut self, config: &Config) {
        for (field, address) in [
            ("grpc_address", config.grpc_address),
            ("http_address", config.http_address),
        ] {
            if !address.ip().is_loopback() && config.principals.is_empty() {
                self.add(field, format!("{address} can be reached from other machines; add [[principals]] with tokens, or listen on 127.0.0.1"));
            }
        }
        let sinks = config.sinks.iter().map(|sink| sink.name.as_str());
        self.check_names("sinks", sinks);
        let tenants: BTreeSet<&Tenant> =
            config.sources.iter().map(|source| &source.tenant).collect();
        for tenant in tenants {
            let own = config
                .sources
                .iter()
                .filter(|source| source.tenant == *tenant);
            self.check_names("sources", own.map(|source| source.name.as_str()));
        }
        let drops = config.drops.iter().map(|files| files.name.as_str());
        self.check_names("drops", drops);
        // Two that write into one place overwrite each other.
        let places = config.sinks.iter().filter_map(|sink| match &sink.kind {
            SinkKind::Objects { place, .. } => Some(place.url.as_str()),
            _ => None,
        });
        self.check_names("sinks.url", places);
        let consumers = config
            .consumers
            .iter()
            .map(|consumer| consumer.name.as_str());
        self.check_names("consumers", consumers);
        let principals = config.principals.iter();
        self.check_names("principals", principals.map(|it| it.name.as_str()));
        self.check_tokens(&config.principals);
    }

    /// A token tells who somebody is: no two principals have the same.
    fn check_tokens(&mut self, principals: &[Principal]) {
        for (index, principal) in principals.iter().enumerate() {
            let mut before = principals[..index].iter();
            if let Some(other) = before.find(|other| other.token == principal.token) {
                let problem = format!("\"{}\" has the token of \"{}\"", principal.name, other.name);
                self.add("principals", problem);
            }
        }
    }

    fn check_names<'a>(&mut self, field: &str, names: impl Iterator<Item = &'a str>) {
        let mut names: Vec<&str> = names.collect();
        names.sort_unstable();
        for repeated in names.windows(2).filter(|pair| pair[0] == pair[1]) {
            self.add(field, format!("two have \"{}\"", repeated[0]));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_mistake_is_reported_at_once() {
        let text = "cache = \"lots\"\nindex_commit_interval = \"5\"\ngrpc_address = \"0.0.0.0:50051\"\n[[sinks]]\nname = \"erp\"\nkind = \"pigeon\"\n[[sinks]]\nname = \"cdp\"\nkind = \"file\"\npath = \"feed.jsonl\"\nbatch = 0\nparallel = 2\nmax_per_second = -1.0\nmax_attempts = 0\n";
        let mistakes = Config::from_toml(text).err().expect("many mistakes").0;
        for place in [
            "cache",
            "index_commit_interval",
            "grpc_address",
            "sinks[0].kind",
            "sinks[1].batch",
            "sinks[1].parallel",
            "sinks[1].max_per_second",
            "sinks[1].max_attempts",
        ] {
            assert!(
                mistakes.iter().any(|mistake| mistake.starts_with(place)),
                "{place} in {mistakes:?}"
            );
        }
    }

    #[test]
    fn an_unknown_key_is_named_with_its_line() {
        let mistakes = Config::from_toml("\ndata_dir = \"x\"\n")
            .err()
            .expect("an unknown key")
            .to_string();
        assert!(
            mistakes.contains("line 2") && mistakes.contains("data_dir"),
            "{mistakes}"
        );
    }

    #[test]
    fn an_empty_configuration_runs_on_loopback() {
        let config = Config::from_toml("").expect("all settings have defaults");
        assert!(config.grpc_address.ip().is_loopback() && config.http_address.ip().is_loopback());
    }
}
