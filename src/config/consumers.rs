//! `[[consumers]]`: where signals are taken from.

use std::path::PathBuf;

use serde::Deserialize;

use super::Mistakes;
use crate::intake::{ConsumerKind, ConsumerSettings};
use crate::store::Tenant;

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WrittenConsumer {
    name: String,
    #[serde(default)]
    owner: String,
    kind: String,
    url: Option<String>,
    url_file: Option<PathBuf>,
    topic: Option<String>,
    stream: Option<String>,
    queue: Option<String>,
    group: Option<String>,
    credentials_file: Option<PathBuf>,
    tenant: Option<String>,
}

impl Mistakes {
    pub(super) fn consumer(
        &mut self,
        index: usize,
        written: WrittenConsumer,
    ) -> Option<ConsumerSettings> {
        let place = format!("consumers[{index}]");
        // A broker's URL may hold a password.
        let url = self.secret(&format!("{place}.url"), written.url, written.url_file);
        let given = [
            ("url", url.is_some()),
            ("topic", written.topic.is_some()),
            ("stream", written.stream.is_some()),
            ("queue", written.queue.is_some()),
            ("group", written.group.is_some()),
            ("credentials_file", written.credentials_file.is_some()),
        ];
        let (needed, possible): (&[&str], &[&str]) = match written.kind.as_str() {
            "kafka" => (&["url", "topic"], &["group"]),
            "nats" => (&["url", "stream"], &["group", "credentials_file"]),
            "rabbitmq" => (&["url", "queue"], &[]),
            other => {
                self.add(
                    format!("{place}.kind"),
                    format!("\"{other}\" is unknown; use \"kafka\", \"nats\" or \"rabbitmq\""),
                );
                return None;
            }
        };
        self.check_fields(
            &place,
            &format!("{} consumer", written.kind),
            &given,
            needed,
            possible,
        );
        let tenant = match written.tenant {
            Some(tenant) => self.tenant(&format!("{place}.tenant"), tenant)?,
            None => Tenant::default_tenant(),
        };
        let group = written.group.unwrap_or_else(|| "veridem".to_owned());
        let kind = match written.kind.as_str() {
            "kafka" => ConsumerKind::Kafka {
                url: url?,
                topic: written.topic?,
                group,
            },
            "nats" => ConsumerKind::Nats {
                url: url?,
                stream: written.stream?,
                group,
                credentials_file: written.credentials_file,
            },
            _ => ConsumerKind::RabbitMq {
                url: url?,
                queue: written.queue?,
            },
        };
        self.check_feature(&place, kind.missing_feature());
        Some(ConsumerSettings {
            name: written.name,
            owner: written.owner,
            kind,
            tenant,
        })
    }
}
