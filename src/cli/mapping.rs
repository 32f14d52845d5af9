//! `veridem mapping`.

use std::path::PathBuf;

use anyhow::Context;

use super::job::read_text;
use crate::config::{Config, mapping_named};
use crate::publish::Mapping;

/// What consumers get: the mappings of sinks.
#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  veridem mapping list\n  veridem mapping show segment > mine.toml\n  veridem mapping preview segment\n  veridem mapping preview mine.toml --set source=crm\n  veridem mapping preview --config veridem.toml --sink erp"
)]
pub struct MappingArguments {
    #[command(subcommand)]
    command: MappingCommand,
}

#[derive(clap::Subcommand)]
enum MappingCommand {
    /// Lists the mappings that ship.
    List,
    /// Prints the file of a mapping that ships, for a copy of one's own.
    Show {
        /// Its name.
        name: String,
    },
    /// Shows what sample events become; sends nothing.
    Preview(PreviewArguments),
}

#[derive(clap::Args)]
#[group(id = "which", required = true, args = ["mapping", "sink"])]
struct PreviewArguments {
    /// A mapping that ships, or a file.
    mapping: Option<String>,
    /// A setting of the mapping; may be given several times.
    #[arg(long = "set", value_name = "NAME=VALUE", value_parser = setting, requires = "mapping")]
    settings: Vec<(String, String)>,
    /// The mapping of this sink.
    #[arg(long, value_name = "NAME", requires = "config")]
    sink: Option<String>,
    /// The configuration that has the sink.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// As one JSON document.
    #[arg(long)]
    json: bool,
}

fn setting(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("write NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

pub(super) fn run(arguments: MappingArguments) -> anyhow::Result<()> {
    match arguments.command {
        MappingCommand::List => {
            for name in Mapping::shipped_names() {
                println!("{name}");
            }
            Ok(())
        }
        MappingCommand::Show { name } => {
            let text = Mapping::shipped(&name).with_context(|| {
                format!("no mapping that ships is named \"{name}\"; see `veridem mapping list`")
            })?;
            print!("{text}");
            Ok(())
        }
        MappingCommand::Preview(arguments) => preview(arguments),
    }
}

fn preview(arguments: PreviewArguments) -> anyhow::Result<()> {
    let mapping = match (&arguments.mapping, &arguments.sink, &arguments.config) {
        (Some(name), ..) => mapping_named(name, arguments.settings.into_iter().collect())
            .map_err(anyhow::Error::msg)?,
        (None, Some(name), Some(config)) => {
            let config = Config::from_toml(&read_text(config)?)?;
            let sink = config.sinks.into_iter().find(|sink| sink.name == *name);
            sink.with_context(|| format!("the configuration has no sink \"{name}\""))?
                .mapping
        }
        _ => unreachable!("clap asks for one of them"),
    };
    let shown = mapping.preview().map_err(anyhow::Error::msg)?;
    if arguments.json {
        println!("{shown:#}");
        return Ok(());
    }
    for sample in shown.as_array().into_iter().flatten() {
        let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
        println!(
            "{} {}",
            text(&sample["event"]["kind"]),
            text(&sample["event"]["id"])
        );
        match sample["requests"].as_array() {
            Some(requests) if requests.is_empty() => println!("  nothing is sent"),
            Some(requests) => {
                for request in requests {
                    println!("  {} {}", text(&request["method"]), text(&request["path"]));
                    for (name, value) in request["headers"].as_object().into_iter().flatten() {
                        println!("    {name}: {}", text(value));
                    }
                    if let Some(body) = request.get("body") {
                        println!("    {body}");
                    }
                }
            }
            None => println!("  {}", sample["data"]),
        }
    }
    Ok(())
}
