//! `[[drops]]`: where files are taken from.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use super::Mistakes;
use crate::intake::{DropMode, DropSettings};
use crate::store::Tenant;

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WrittenDrop {
    name: String,
    #[serde(default)]
    owner: String,
    url: String,
    #[serde(default)]
    options: BTreeMap<String, String>,
    options_file: Option<PathBuf>,
    tenant: Option<String>,
    source: Option<String>,
    mapping: Option<PathBuf>,
    #[serde(default)]
    schema_version: String,
    #[serde(default)]
    mode: DropMode,
    max_ended_share: Option<f64>,
    interval: Option<String>,
}

impl Mistakes {
    pub(super) fn drop(&mut self, index: usize, written: WrittenDrop) -> Option<DropSettings> {
        let place = format!("drops[{index}]");
        let tenant = match written.tenant {
            Some(tenant) => self.tenant(&format!("{place}.tenant"), tenant)?,
            None => Tenant::default_tenant(),
        };
        if written.mode == DropMode::Full && written.source.is_none() {
            self.add(
                format!("{place}.source"),
                "is missing; a full load ends the records of one source",
            );
        }
        let max_ended_share = written.max_ended_share.unwrap_or(0.2);
        if !(0.0..=1.0).contains(&max_ended_share) {
            self.add(format!("{place}.max_ended_share"), "must be 0 to 1");
        }
        let interval =
            self.positive_duration(written.interval, &format!("{place}.interval"), "10s");
        Some(DropSettings {
            place: self.objects(&place, written.url, written.options, written.options_file),
            mapping: self.read(written.mapping, &format!("{place}.mapping"), |text| {
                Ok(text.to_owned())
            }),
            name: written.name,
            owner: written.owner,
            tenant,
            source: written.source,
            schema_version: written.schema_version,
            mode: written.mode,
            max_ended_share,
            interval: interval.unwrap_or(Duration::from_secs(10)),
        })
    }
}
