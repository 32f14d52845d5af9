//! `[[sinks]]`: where events are published.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Deserialize;

use super::Mistakes;
use crate::files::Format;
use crate::publish::{Filter, Mapping, SinkKind, SinkSettings};
use crate::store::EventKind;

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WrittenSink {
    name: String,
    kind: String,
    url: Option<String>,
    url_file: Option<PathBuf>,
    path: Option<PathBuf>,
    secret: Option<String>,
    secret_file: Option<PathBuf>,
    subject: Option<String>,
    topic: Option<String>,
    exchange: Option<String>,
    credentials_file: Option<PathBuf>,
    tenant: Option<String>,
    owner: Option<String>,
    #[serde(default)]
    kinds: Vec<EventKind>,
    #[serde(default)]
    sources: Vec<String>,
    #[serde(default)]
    pub(super) brands: Vec<String>,
    timeout: Option<String>,
    batch: Option<usize>,
    parallel: Option<usize>,
    max_per_second: Option<f64>,
    max_lag: Option<String>,
    service_level: Option<f64>,
    max_attempts: Option<u32>,
    acknowledge_within: Option<String>,
    collect_for: Option<String>,
    format: Option<String>,
    #[serde(default)]
    options: BTreeMap<String, String>,
    options_file: Option<PathBuf>,
    authorization_file: Option<PathBuf>,
    mapping: Option<WrittenMapping>,
    #[serde(default)]
    mapping_settings: BTreeMap<String, String>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
enum WrittenMapping {
    /// A mapping that ships, or a file.
    Named(String),
    /// The consumer's field = an expression.
    Fields(BTreeMap<String, String>),
}

impl Mistakes {
    pub(super) fn sink(&mut self, index: usize, written: WrittenSink) -> Option<SinkSettings> {
        let place = format!("sinks[{index}]");
        // A broker's URL may hold a password.
        let url = self.secret(&format!("{place}.url"), written.url, written.url_file);
        let secret = self.secret(
            &format!("{place}.secret"),
            written.secret,
            written.secret_file,
        );
        let given = [
            ("url", url.is_some()),
            ("path", written.path.is_some()),
            ("secret", secret.is_some()),
            ("subject", written.subject.is_some()),
            ("topic", written.topic.is_some()),
            ("exchange", written.exchange.is_some()),
            ("credentials_file", written.credentials_file.is_some()),
            ("authorization_file", written.authorization_file.is_some()),
            ("format", written.format.is_some()),
            (
                "options",
                !written.options.is_empty() || written.options_file.is_some(),
            ),
        ];
        let (needed, possible): (&[&str], &[&str]) = match written.kind.as_str() {
            "webhook" => (&["url"], &["secret", "authorization_file"]),
            "file" => (&["path"], &[]),
            "kafka" => (&["url", "topic"], &[]),
            "objects" => (&["url"], &["format", "options"]),
            "nats" => (&["url", "subject"], &["credentials_file"]),
            "rabbitmq" => (&["url", "subject"], &["exchange"]),
            "watch" => (&[], &[]),
            other => {
                self.add(
                    format!("{place}.kind"),
                    format!("\"{other}\" is unknown; use \"webhook\", \"file\", \"objects\", \"kafka\", \"nats\", \"rabbitmq\" or \"watch\""),
                );
                return None;
            }
        };
        self.check_fields(
            &place,
            &format!("{} sink", written.kind),
            &given,
            needed,
            possible,
        );
        let kind = match written.kind.as_str() {
            "webhook" => {
                let url = url?;
                if reqwest::Url::parse(&url).is_err() {
                    self.add(format!("{place}.url"), "is no URL");
                }
                SinkKind::Webhook {
                    url,
                    secret,
                    authorization_file: written.authorization_file,
                }
            }
            "file" => SinkKind::File {
                path: written.path?,
            },
            "objects" => SinkKind::Objects {
                place: self.objects(&place, url?, written.options, written.options_file),
                format: match written.format.as_deref() {
                    None | Some("parquet") => Format::Parquet,
                    Some("jsonl") => Format::Jsonl,
                    Some(other) => {
                        let problem =
                            format!("\"{other}\" is unknown; use \"parquet\" or \"jsonl\"");
                        self.add(format!("{place}.format"), problem);
                        return None;
                    }
                },
            },
            "kafka" => SinkKind::Kafka {
                url: url?,
                topic: written.topic?,
            },
            "rabbitmq" => SinkKind::RabbitMq {
                url: url?,
                exchange: written.exchange.unwrap_or_default(),
                subject: written.subject?,
            },
            "watch" => SinkKind::Watch,
            _ => SinkKind::Nats {
                url: url?,
                subject: written.subject?,
                credentials_file: written.credentials_file,
            },
        };
        self.check_feature(&place, kind.missing_feature());
        let bounds = kind.bounds();
        let mut settings = SinkSettings::new(written.name, kind);
        if let Some(tenant) = written.tenant {
            settings.tenant = self.tenant(&format!("{place}.tenant"), tenant)?;
        }
        let timeout = self.positive_duration(written.timeout, &format!("{place}.timeout"), "10s");
        settings.timeout = timeout.unwrap_or(settings.timeout);
        let collect_for = self.duration(written.collect_for, &format!("{place}.collect_for"), "1m");
        settings.collect_for = collect_for.unwrap_or(settings.collect_for);
        let acknowledge_within = self.positive_duration(
            written.acknowledge_within,
            &format!("{place}.acknowledge_within"),
            "5m",
        );
        settings.acknowledge_within = acknowledge_within.or(settings.acknowledge_within);
        let max_lag = self.duration(written.max_lag, &format!("{place}.max_lag"), "15m");
        settings.max_lag = max_lag.unwrap_or(settings.max_lag);
        settings.service_level = self
            .service_level(&place, written.service_level)
            .unwrap_or(settings.service_level);
        settings.owner = written.owner.unwrap_or_default();
        settings.filter = Filter {
            kinds: written.kinds,
            sources: written.sources,
        };
        settings.batch = written.batch.unwrap_or(settings.batch);
        settings.parallel = written.parallel.unwrap_or(settings.parallel);
        for (field, value, most) in [
            ("batch", settings.batch, bounds.max_batch),
            ("parallel", settings.parallel, bounds.max_parallel),
        ] {
            if !(1..=most).contains(&value) {
                self.add(
                    format!("{place}.{field}"),
                    format!("must be 1 to {most} for a {} sink", written.kind),
                );
            }
        }
        settings.max_per_second = written.max_per_second;
        if (settings.max_per_second).is_some_and(|rate| !(0.001..=1e6).contains(&rate)) {
            self.add(
                format!("{place}.max_per_second"),
                "must be 0.001 to 1000000",
            );
        }
        settings.max_attempts = written.max_attempts.unwrap_or(settings.max_attempts);
        if settings.max_attempts == 0 {
            self.add(format!("{place}.max_attempts"), "must be at least 1");
        }
        settings.mapping = read_mapping(written.mapping, written.mapping_settings)
            .map_err(|problem| self.add(format!("{place}.mapping"), problem))
            .ok()?;
        if settings.mapping.is_requests() {
            if written.kind != "webhook" {
                self.add(
                    format!("{place}.mapping"),
                    "makes HTTP requests, which only a webhook sink can send; give a table of fields",
                );
            } else if settings.batch > 1 {
                self.add(
                    format!("{place}.batch"),
                    "must be 1 where the mapping makes requests of each event",
                );
            }
        }
        Some(settings)
    }
}

fn read_mapping(
    written: Option<WrittenMapping>,
    settings: BTreeMap<String, String>,
) -> Result<Mapping, String> {
    match written {
        Some(WrittenMapping::Named(name)) => mapping_named(&name, settings),
        _ if !settings.is_empty() => {
            Err("mapping_settings belong to a mapping that ships or a file".to_owned())
        }
        Some(WrittenMapping::Fields(fields)) => Mapping::of_fields(fields),
        None => Ok(Mapping::None),
    }
}

/// A mapping that ships, or that a file holds.
pub fn mapping_named(name: &str, settings: BTreeMap<String, String>) -> Result<Mapping, String> {
    if let Some(text) = Mapping::shipped(name) {
        return Mapping::of_requests(text, settings);
    }
    let text = std::fs::read_to_string(name).map_err(|cause| {
        let shipped: Vec<&str> = Mapping::shipped_names().collect();
        format!(
            "{name}: {cause}; name a file, or one that ships: {}",
            shipped.join(", ")
        )
    })?;
    Mapping::of_requests(&text, settings).map_err(|problem| format!("{name}: {problem}"))
}
