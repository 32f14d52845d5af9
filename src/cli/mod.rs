//! The command line: one file per command.

mod audit;
mod backup;
mod dedupe;
mod demo;
mod evaluate;
mod explain;
mod generate;
mod job;
mod load;
mod map;
mod mapping;
mod model;
mod quarantine;
mod relay;
mod remote;
mod replay;
mod schemas;
mod serve;
mod sinks;
mod train;

use clap::{Parser, Subcommand};

/// Customer identity resolution: signals in, golden records out, every change of identity published.
#[derive(Parser)]
#[command(version, about, arg_required_else_help = true)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Demo(demo::DemoArguments),
    Serve(serve::ServeArguments),
    Relay(relay::RelayArguments),
    Load(load::LoadArguments),
    Dedupe(dedupe::DedupeArguments),
    Train(train::TrainArguments),
    Evaluate(evaluate::EvaluateArguments),
    Explain(explain::ExplainArguments),
    Generate(generate::GenerateArguments),
    Model(model::ModelArguments),
    Sinks(sinks::SinksArguments),
    Map(map::MapArguments),
    Mapping(mapping::MappingArguments),
    Sources(quarantine::SourcesArguments),
    Quarantine(quarantine::QuarantineArguments),
    Audit(audit::AuditArguments),
    Schemas(schemas::SchemasArguments),
    Replay(replay::ReplayArguments),
    Backup(backup::BackupArguments),
    Restore(backup::RestoreArguments),
    Check(serve::CheckArguments),
}

impl Arguments {
    /// Runs the command.
    pub fn run(self) -> anyhow::Result<()> {
        match self.command {
            Command::Demo(arguments) => demo::run(&arguments),
            Command::Serve(arguments) => serve::serve(arguments),
            Command::Relay(arguments) => relay::run(arguments),
            Command::Load(arguments) => load::run(arguments),
            Command::Dedupe(arguments) => dedupe::run(arguments),
            Command::Train(arguments) => train::run(&arguments),
            Command::Evaluate(arguments) => evaluate::run(&arguments),
            Command::Explain(arguments) => explain::run(&arguments),
            Command::Generate(arguments) => generate::run(&arguments),
            Command::Model(arguments) => model::run(arguments),
            Command::Sinks(arguments) => sinks::run(arguments),
            Command::Sources(arguments) => quarantine::sources(arguments),
            Command::Quarantine(arguments) => quarantine::run(arguments),
            Command::Map(arguments) => map::run(&arguments),
            Command::Mapping(arguments) => mapping::run(arguments),
            Command::Audit(arguments) => audit::run(arguments),
            Command::Schemas(arguments) => schemas::run(&arguments),
            Command::Replay(arguments) => replay::run(&arguments),
            Command::Backup(arguments) => backup::backup(&arguments),
            Command::Restore(arguments) => backup::restore(&arguments),
            Command::Check(arguments) => serve::check(arguments),
        }
    }
}
