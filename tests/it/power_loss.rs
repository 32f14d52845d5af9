//! Power loss: a machine that stops keeps what its disk was told to keep and nothing else.
//!
//! The service runs on ext4 on a loop device. At a random moment the process is stopped and the device's image copied: it holds what was
//! written to the device, and nothing of what the kernel still had in memory. The copy is mounted as the machine would find its disk
//! at the next start.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use veridem::resolver::Signal;

use crate::bulk::good;
use crate::crash::{acknowledged_of, repeated, send};
use crate::process::Process;
use crate::support::*;

const ROUNDS: usize = 20;
const IMAGE_BYTES: &str = "512M";

fn run(command: &str, arguments: &[&str]) -> String {
    let output = Command::new(command)
        .args(arguments)
        .output()
        .unwrap_or_else(|cause| panic!("{command}: {cause}"));
    assert!(
        output.status.success(),
        "{command} {arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a path in UTF-8")
}

/// A file system on an image, mounted as long as this lives.
struct Mounted {
    device: String,
    point: PathBuf,
}

impl Mounted {
    fn new(image: &Path, point: PathBuf) -> Self {
        std::fs::create_dir_all(&point).expect("a mount point");
        let device = run("losetup", &["--find", "--show", text(image)]);
        run("mount", &["-t", "ext4", &device, text(&point)]);
        Self { device, point }
    }

    fn store_is_good(&self) {
        good(
            &["check", "--config", "veridem.toml", "--store"],
            &self.point,
        );
    }
}

/// Every acknowledged signal is answered as one that is there.
async fn nothing_is_lost(process: &Process, signals: &[Signal], acknowledged: &BTreeSet<String>) {
    let known = signals
        .iter()
        .filter(|signal| acknowledged.contains(&signal.signal_id));
    let known: Vec<Signal> = known.cloned().collect();
    let repeated = repeated(process.channel.clone(), &known).await;
    assert_eq!(repeated, known.len(), "every acknowledged signal is there");
}

impl Drop for Mounted {
    fn drop(&mut self) {
        run("umount", &[text(&self.point)]);
        run("losetup", &["--detach", &self.device]);
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs root and loop devices; .ci/run runs it"]
async fn power_loss_loses_nothing_acknowledged_on_fjall() {
    power_loss_loses_nothing_acknowledged("fjall").await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs root and loop devices; .ci/run runs it"]
async fn power_loss_loses_nothing_acknowledged_on_sled() {
    power_loss_loses_nothing_acknowledged("sled").await;
}

async fn power_loss_loses_nothing_acknowledged(engine: &str) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let image = |round: usize| directory.path().join(format!("{round}.img"));
    let point = |name: String| directory.path().join(name);
    run("truncate", &["--size", IMAGE_BYTES, text(&image(0))]);
    run("mkfs.ext4", &["-q", "-F", text(&image(0))]);
    let mut random = ChaCha8Rng::seed_from_u64(20_261_124);
    let signals: Vec<Signal> = sample_signals();
    let mut acknowledged: BTreeSet<String> = BTreeSet::new();
    for round in 0..ROUNDS {
        {
            let mounted = Mounted::new(&image(round), point(format!("run-{round}")));
            let process = Process::start(&mounted.point, engine).await;
            let sender = tokio::spawn({
                let channel = process.channel.clone();
                let new = signals
                    .iter()
                    .filter(|signal| !acknowledged.contains(&signal.signal_id));
                let new: Vec<Signal> = new.take(1_000).cloned().collect();
                async move { send(channel, &new).await }
            });
            tokio::time::sleep(Duration::from_millis(50 + random.next_u64() % 700)).await;
            run("kill", &["-STOP", &process.id().to_string()]);
            let next = image(round + 1);
            run("cp", &["--sparse=always", text(&image(round)), text(&next)]);
            // What was acknowledged was so before the copy: the process stands still since.
            process.kill();
            acknowledged.extend(sender.await.expect("the sender ends"));
        }
        std::fs::remove_file(image(round)).expect("the old image goes");
        let mounted = Mounted::new(&image(round + 1), point(format!("check-{round}")));
        let process = Process::start(&mounted.point, engine).await;
        nothing_is_lost(&process, &signals, &acknowledged).await;
        process.kill();
        mounted.store_is_good();
    }
    assert!(acknowledged.len() > 200, "{} signals", acknowledged.len());
    println!(
        "{engine}: {ROUNDS} rounds, {} signals acknowledged, none lost",
        acknowledged.len()
    );
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs root and loop devices; .ci/run runs it"]
async fn a_full_disk_loses_nothing_acknowledged() {
    for engine in ["fjall", "sled"] {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let image = directory.path().join("disk.img");
        run("truncate", &["--size", "64M", text(&image)]);
        run("mkfs.ext4", &["-q", "-F", text(&image)]);
        let mounted = Mounted::new(&image, directory.path().join("disk"));
        let process = Process::start(&mounted.point, engine).await;
        let signals: Vec<Signal> = sample_signals();
        let filler = mounted.point.join("filler");
        // As much as fits, but for a little.
        let _ = Command::new("dd")
            .args(["if=/dev/zero", "bs=64K", "status=none"])
            .arg(format!("of={}", text(&filler)))
            .status();
        let file = std::fs::OpenOptions::new().write(true).open(&filler);
        let file = file.expect("the filler");
        let length = file.metadata().expect("its length").len();
        file.set_len(length.saturating_sub(1 << 20)).expect("cut");
        drop(file);
        let acknowledged = acknowledged_of(process.channel.clone(), &signals).await;
        assert!(
            acknowledged.len() < signals.len(),
            "{engine}: the disk is full"
        );
        process.kill();
        std::fs::remove_file(&filler).expect("room again");
        let process = Process::start(&mounted.point, engine).await;
        nothing_is_lost(&process, &signals, &acknowledged).await;
        let some = acknowledged.len() + 50;
        let some: Vec<Signal> = signals.into_iter().take(some).collect();
        assert_eq!(
            send(process.channel.clone(), &some).await.len(),
            some.len(),
            "{engine}"
        );
        process.kill();
        mounted.store_is_good();
        println!(
            "{engine}: full disk, {} signals acknowledged, none lost",
            acknowledged.len()
        );
    }
}
