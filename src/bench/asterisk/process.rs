//! One Asterisk process in a `chroot`, which cannot outlive us and leaves no mount behind.
//!
//! It runs in mount and process namespaces of its own. The first process in there is a small shell script that mounts
//! what Asterisk needs, starts it, and reads from a pipe that only we can write to. When we close the pipe, or are
//! killed and the kernel closes it, the script kills Asterisk and ends; with it end the namespaces, every process in
//! them and every mount. This works through `sudo` too, where signals and parent-death notices do not reach.

use super::privilege::{Privilege, user_and_group};
use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// Where Asterisk sees its instance folder: a folder of every Debian, empty, and hidden by the mount only for this one.
pub(super) const INSTANCE_INSIDE: &str = "/srv";

/// The script's exit code when the mounts failed, which no Asterisk uses.
const MOUNT_FAILED: i32 = 99;

/// When the owner was killed, another process may have removed the folder already: nothing here depends on it.
const SCRIPT: &str = r#"
root=$1 instance=$2 user=$3 inside=$4
exec 3<&0 0</dev/null
mount -t proc proc "$root/proc" && mount --rbind /dev "$root/dev" && mount --bind "$instance" "$root$inside" || exit 99
ulimit -n 65536 2>/dev/null || ulimit -n "$(ulimit -Hn)"
chroot --userspec="$user" "$root" /usr/sbin/asterisk -f -C "$inside/etc/asterisk.conf" 3<&- &
asterisk=$!
{ read -r keep <&3 || touch "$instance/abandoned"; kill -KILL "$asterisk"; } &
wait "$asterisk"
code=$?
test ! -e "$instance/abandoned" || rm -rf "$instance"
exit "$code"
"#;

/// Killing is immediate; a machine that needs longer than this is stuck.
const END_TIMEOUT: Duration = Duration::from_secs(10);

/// What becomes of the instance folder when the process ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Folder {
    /// It stays, for the next start.
    Keep,
    /// It goes.
    Remove,
}

#[derive(Debug)]
pub(super) struct AsteriskProcess {
    child: Child,
    orders: Option<ChildStdin>,
}

impl AsteriskProcess {
    /// Starts the Asterisk of `root` on the instance folder. What it and the script print goes to `output`.
    pub(super) fn launch(privilege: Privilege, root: &Path, instance: &Path, output: File) -> io::Result<Self> {
        let mut command = privilege.command("unshare");
        command.args(["--mount", "--pid", "--fork", "--kill-child", "--propagation", "private"]);
        command
            .args(["sh", "-c", SCRIPT, "asterisk"])
            .arg(root)
            .arg(instance)
            .args([&user_and_group(), INSTANCE_INSIDE]);
        command.stdin(Stdio::piped()).stdout(output.try_clone()?).stderr(output);
        // Ctrl-C on the terminal is for us: Asterisk must live until the calls are over.
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let mut child = command.spawn()?;
        let orders = child.stdin.take();
        Ok(Self { child, orders })
    }

    /// How it ended, if it did.
    pub(super) fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// Kills Asterisk and waits until it and everything beside it is gone: some milliseconds.
    pub(super) fn end(&mut self, folder: Folder) {
        if let Some(mut orders) = self.orders.take()
            && folder == Folder::Keep
        {
            // It fails only if the script is gone already, which is what we want.
            let _ = orders.write_all(b"keep\n");
        }
        let deadline = Instant::now() + END_TIMEOUT;
        while self.ended().is_none() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(2));
        }
        if self.ended().is_none() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

impl Drop for AsteriskProcess {
    fn drop(&mut self) {
        self.end(Folder::Remove);
    }
}

/// Whether the script could not mount what it needs.
pub(super) fn mounts_failed(status: ExitStatus) -> bool {
    status.code() == Some(MOUNT_FAILED)
}
