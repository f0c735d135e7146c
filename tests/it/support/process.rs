//! A child process that never outlives the tests, however they end.
//!
//! Statics are not dropped, and a killed test runs no destructor. So one shell, the keeper, is told
//! the id of every child, and when its standard input closes it ends those that are left and
//! removes our folder.

use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::scratch;

/// A running program; killed on drop.
pub struct Process {
    held: Held,
    status: Option<ExitStatus>,
}

/// Whose child it is.
enum Held {
    Ours(Child),
    /// Started by a child of ours.
    Theirs(u32),
}

impl Process {
    /// Starts `command`.
    pub fn start(command: &mut Command) -> Process {
        let child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        tell_keeper("started", child.id());
        Process { held: Held::Ours(child), status: None }
    }

    /// A program that one of ours has started. How it ends cannot be told, only when.
    pub fn adopt(id: u32) -> Process {
        tell_keeper("started", id);
        Process { held: Held::Theirs(id), status: None }
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        match &self.held {
            Held::Ours(child) => child.id(),
            Held::Theirs(id) => *id,
        }
    }

    /// Sends it a signal by name, such as `STOP`.
    pub fn signal(&self, name: &str) {
        let script = format!("kill -s {name} {}", self.id());
        let status = Command::new("sh").args(["-c", &script]).status().expect("sh");
        assert!(status.success(), "{script}: {status}");
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        if self.status.is_none() {
            self.status = match &mut self.held {
                Held::Ours(child) => child.try_wait().expect("the state of a child"),
                Held::Theirs(id) => (!is_alive(*id)).then(|| ExitStatus::from_raw(0)),
            };
            if self.status.is_some() {
                tell_keeper("ended", self.id());
            }
        }
        self.status
    }

    /// Waits for its end; `None` if it is still there after `deadline`.
    pub fn wait(&mut self, deadline: Duration) -> Option<ExitStatus> {
        let until = Instant::now() + deadline;
        while self.ended().is_none() && Instant::now() < until {
            thread::sleep(Duration::from_millis(2));
        }
        self.status
    }

    /// Ends it without asking, and waits for that.
    pub fn kill(&mut self) {
        if self.ended().is_none() {
            match &mut self.held {
                Held::Ours(child) => {
                    let _ = child.kill();
                    self.status = child.wait().ok();
                }
                Held::Theirs(_) => self.signal("KILL"),
            }
            tell_keeper("ended", self.id());
        }
    }

    /// How much memory it occupies.
    pub fn resident_kb(&self) -> u64 {
        let status =
            std::fs::read_to_string(format!("/proc/{}/status", self.id())).unwrap_or_default();
        if let Some(line) = status.lines().find_map(|line| line.strip_prefix("VmRSS:")) {
            return line.trim().trim_end_matches(" kB").parse().expect("VmRSS in kB");
        }
        let output = Command::new("ps")
            .args(["-o", "rss=", "-p", &self.id().to_string()])
            .output()
            .expect("ps");
        String::from_utf8_lossy(&output.stdout).trim().parse().expect("a size from ps")
    }
}

/// Whether there is such a process, and not only what is left of one.
fn is_alive(id: u32) -> bool {
    let output = Command::new("ps").args(["-o", "stat=", "-p", &id.to_string()]).output();
    let output = output.expect("ps");
    output.status.success() && !String::from_utf8_lossy(&output.stdout).trim().starts_with('Z')
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Whether a program of this name, or at this path, can be started.
pub fn program_exists(program: &str) -> bool {
    Command::new(program)
        .arg("--version")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok()
}

/// The keeper, started if it is not there yet: whoever leaves something behind needs it.
pub fn keeper() -> MutexGuard<'static, Child> {
    static KEEPER: OnceLock<Mutex<Child>> = OnceLock::new();
    let keeper = KEEPER.get_or_init(|| {
        let mut shell = Command::new("sh");
        shell.args(["-c", KEEPER_SCRIPT, "keeper"]).arg(scratch::root());
        shell.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        Mutex::new(shell.spawn().expect("sh"))
    });
    keeper.lock().unwrap_or_else(PoisonError::into_inner)
}

fn tell_keeper(what: &str, id: u32) {
    let mut keeper = keeper();
    let input = keeper.stdin.as_mut().expect("a piped standard input");
    writeln!(input, "{what} {id}").expect("the keeper of our processes");
}

const KEEPER_SCRIPT: &str = r#"
trap '' INT TERM HUP
left=' '
while read -r what id; do
    case $what in
        started) left="$left$id " ;;
        ended) left="${left%%" $id "*} ${left#*" $id "}" ;;
    esac
done
for id in $left; do kill -9 "$id"; done
rm -rf -- "$1"
"#;
