//! `veridem model`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use tonic::transport::Channel;
use veridem_proto::v1;
use veridem_proto::v1::operations_service_client::OperationsServiceClient;

use super::job::read_text;
use super::remote::{RemoteArguments, block_on, told};

/// Another model or other rules on a running service: what would come of them, putting them in force, and how far that is.
#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  veridem model preview --model model.json\n  veridem model activate --model model.json --rules rules.toml --limit 0.02\n  veridem model status"
)]
pub struct ModelArguments {
    #[command(subcommand)]
    command: ModelCommand,
}

#[derive(clap::Subcommand)]
enum ModelCommand {
    /// Tells which identities would be joined and split, and changes nothing.
    Preview(PreviewArguments),
    /// Puts model and rules in force and waits until everything is decided; interrupting the command does not stop the service.
    Activate(ActivateArguments),
    /// Tells which model is in force, and how far a change is.
    Status(RemoteArguments),
}

#[derive(clap::Args)]
#[group(required = true, multiple = true, id = "wanted", args = ["model", "rules"])]
struct PreviewArguments {
    #[command(flatten)]
    remote: RemoteArguments,
    /// A model of `veridem train`; without it the one in force stays.
    #[arg(long, value_name = "FILE")]
    model: Option<PathBuf>,
    /// A rules file; without it the rules in force stay.
    #[arg(long, value_name = "FILE")]
    rules: Option<PathBuf>,
}

#[derive(clap::Args)]
struct ActivateArguments {
    #[command(flatten)]
    wanted: PreviewArguments,
    /// The share of identities that may be ended or split, 0 to 1; where it would be more nothing is changed. The service has a limit of
    /// its own where none is given.
    #[arg(
        long,
        value_name = "SHARE",
        default_value_t = 0.0,
        hide_default_value = true
    )]
    limit: f64,
}

/// How often the service is asked how far it is.
const PAUSE: Duration = Duration::from_millis(200);

pub(super) fn run(arguments: ModelArguments) -> anyhow::Result<()> {
    block_on(async {
        match arguments.command {
            ModelCommand::Preview(arguments) => preview(&arguments).await,
            ModelCommand::Activate(arguments) => activate(&arguments).await,
            ModelCommand::Status(remote) => {
                print_status(&status(&remote, &mut remote.operations().await?).await?);
                Ok(())
            }
        }
    })
}

fn text_of(path: Option<&Path>) -> anyhow::Result<String> {
    path.map_or_else(|| Ok(String::new()), read_text)
}

async fn preview(arguments: &PreviewArguments) -> anyhow::Result<()> {
    let wanted = v1::PreviewModelRequest {
        model: text_of(arguments.model.as_deref())?,
        rules: text_of(arguments.rules.as_deref())?,
    };
    let wanted = arguments.remote.request(wanted)?;
    let mut client = arguments.remote.operations().await?;
    let found = client
        .preview_model(wanted)
        .await
        .map_err(told)?
        .into_inner();
    println!("model and rules {}", found.fingerprint);
    println!(
        "{} identities become {}: {} end in another, {} are split, {} are new, {} change in other ways",
        found.identities,
        found.identities_after,
        found.identities_ended,
        found.identities_split,
        found.identities_created,
        found.identities_updated,
    );
    println!(
        "{} records come to another identity, {} events would tell it; ended or split: {:.2} %",
        found.records_moved,
        found.events,
        100.0 * found.changed_share
    );
    if !found.largest.is_empty() {
        println!("the largest changes:");
    }
    for change in &found.largest {
        let mut what = Vec::new();
        if !change.merged_identity_ids.is_empty() {
            what.push(format!(
                "takes {} others in",
                change.merged_identity_ids.len()
            ));
        }
        if change.split_into > 0 {
            what.push(format!("gives records to {} others", change.split_into));
        }
        println!(
            "  {}  {} -> {} records, {}",
            change.identity_id,
            change.records_before,
            change.records_after,
            what.join(", ")
        );
    }
    Ok(())
}

async fn status(
    remote: &RemoteArguments,
    client: &mut OperationsServiceClient<Channel>,
) -> anyhow::Result<v1::GetModelStatusResponse> {
    let asked = remote.request(v1::GetModelStatusRequest {})?;
    Ok(client
        .get_model_status(asked)
        .await
        .map_err(told)?
        .into_inner())
}

fn print_status(status: &v1::GetModelStatusResponse) {
    let in_force = match status.fingerprint_in_force.as_str() {
        "" => "none yet",
        fingerprint => fingerprint,
    };
    println!("in force: {in_force}");
    let phase = match status.phase() {
        v1::ModelPhase::Unspecified => return,
        v1::ModelPhase::Weighing => "all pairs are weighed anew".to_owned(),
        v1::ModelPhase::Deciding => format!(
            "identities are decided anew: {} of {} records",
            status.decided_records, status.record_numbers
        ),
        v1::ModelPhase::Removing => "what the old model has left is removed".to_owned(),
        v1::ModelPhase::Done => "done".to_owned(),
        v1::ModelPhase::Refused => refusal(status),
    };
    println!(
        "change to {}, asked for by {}: {phase}",
        status.fingerprint, status.principal
    );
}

fn refusal(status: &v1::GetModelStatusResponse) -> String {
    format!(
        "refused, nothing was changed: {} of {} identities would be ended or split, which is more than the limit",
        status.changed_identities, status.identities
    )
}

async fn activate(arguments: &ActivateArguments) -> anyhow::Result<()> {
    let (wanted, remote) = (&arguments.wanted, &arguments.wanted.remote);
    let asked = v1::ActivateModelRequest {
        model: text_of(wanted.model.as_deref())?,
        rules: text_of(wanted.rules.as_deref())?,
        limit: arguments.limit,
    };
    let mut client = remote.operations().await?;
    let asked = client.activate_model(remote.request(asked)?).await;
    let fingerprint = asked.map_err(told)?.into_inner().fingerprint;
    let style = ProgressStyle::with_template("{spinner} {msg} {elapsed}")?;
    let bar = ProgressBar::new_spinner().with_style(style);
    loop {
        let now = status(remote, &mut client).await?;
        match now.phase() {
            v1::ModelPhase::Refused if now.fingerprint == fingerprint => {
                bar.finish_and_clear();
                anyhow::bail!(refusal(&now));
            }
            v1::ModelPhase::Weighing => bar.set_message("all pairs are weighed anew"),
            v1::ModelPhase::Deciding => bar.set_message(format!(
                "identities are decided anew: {} of {} records",
                now.decided_records, now.record_numbers
            )),
            v1::ModelPhase::Removing => bar.set_message("what the old model has left is removed"),
            _ => {
                bar.finish_and_clear();
                println!("in force: {fingerprint}");
                return Ok(());
            }
        }
        bar.tick();
        tokio::time::sleep(PAUSE).await;
    }
}
