//! `veridem schemas`.

use std::path::PathBuf;

use anyhow::Context;

use crate::gateway::openapi;
use crate::publish::event_schemas;

/// Writes the JSON Schemas of published events and the OpenAPI description of the gateway.
#[derive(clap::Args)]
#[command(after_help = "Example:\n  veridem schemas --out proto/schemas")]
pub struct SchemasArguments {
    /// The folder to write to.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

pub(super) fn run(arguments: &SchemasArguments) -> anyhow::Result<()> {
    let folder = &arguments.out;
    std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let mut documents = event_schemas();
    documents.push(("openapi".to_owned(), openapi()));
    for (name, document) in documents {
        let path = folder.join(format!("{name}.json"));
        let text = serde_json::to_string_pretty(&document)? + "\n";
        std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
        println!("{}", path.display());
    }
    Ok(())
}
