//! The command line.
mod evaluate;
mod dedupe;

use clap::{Parser, Subcommand};

/// Customer identity resolution.
#[derive(Parser)]
#[command(version, about)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Dedupe(dedupe::DedupeArguments),
    Evaluate(evaluate::EvaluateArguments),
}

impl Arguments {
    /// Runs the command.
    pub fn run(self) -> anyhow::Result<()> {
        match self.command {
            Command::Dedupe(arguments) => dedupe::run(arguments),
            Command::Evaluate(arguments) => evaluate::run(&arguments),
        }
    }
}
