//! What a process costs, as the operating system says it: `/proc`, see proc(5).

use std::fs;
use std::io;
use std::time::{Duration, Instant};

/// CPU time up to a moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct CpuTime {
    pub(super) at: Instant,
    /// Of all threads, ended ones included.
    pub(super) total: Duration,
    /// Of the threads whose name begins as asked.
    pub(super) named: Duration,
}

impl CpuTime {
    /// Of a process now. `name`: how the names of the threads to tell apart begin.
    pub(super) fn of(pid: u32, name: &str) -> io::Result<Self> {
        let ticks = process_ticks(&fs::read_to_string(format!("/proc/{pid}/stat"))?).ok_or_else(malformed)?;
        let total = Duration::from_nanos(ticks * 1_000_000_000 / ticks_a_second());
        let mut named = Duration::ZERO;
        for thread in fs::read_dir(format!("/proc/{pid}/task"))? {
            let folder = thread?.path();
            // A thread may end between the two reads.
            let (Ok(comm), Ok(run)) =
                (fs::read_to_string(folder.join("comm")), fs::read_to_string(folder.join("schedstat")))
            else {
                continue;
            };
            if comm.starts_with(name) {
                named += Duration::from_nanos(run.split(' ').next().and_then(|ns| ns.parse().ok()).unwrap_or(0));
            }
        }
        Ok(Self { at: Instant::now(), total, named })
    }
}

/// Proportional set size of a process in KiB: its own memory, and its part of what it shares.
pub(super) fn memory_kib(pid: u32) -> io::Result<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
    text.lines()
        .find_map(|line| line.strip_prefix("Pss:")?.trim().strip_suffix("kB")?.trim().parse().ok())
        .ok_or_else(malformed)
}

/// Datagrams that the socket with this UDP port lost because nobody took them in time.
pub(super) fn udp_drops(port: u16) -> u64 {
    let table = fs::read_to_string("/proc/net/udp").unwrap_or_default();
    let port = format!(":{port:04X}");
    let of_line = |line: &str| {
        let mut fields = line.split_whitespace();
        fields.nth(1)?.ends_with(&port).then(|| fields.last()?.parse::<u64>().ok())?
    };
    table.lines().filter_map(of_line).sum()
}

/// utime and stime: fields 14 and 15, counted from behind the name, which may hold anything.
fn process_ticks(stat: &str) -> Option<u64> {
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    let user: u64 = fields.nth(11)?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(user + system)
}

fn ticks_a_second() -> u64 {
    // 100 on every Linux of today.
    nix::unistd::sysconf(nix::unistd::SysconfVar::CLK_TCK)
        .ok()
        .flatten()
        .and_then(|hz| u64::try_from(hz).ok())
        .unwrap_or(100)
}

fn malformed() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "/proc says something that this program does not understand")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_brackets_and_spaces_is_stepped_over() {
        let stat = "7 (a) b (c)) S 1 7 7 0 -1 4194304 100 0 0 0 250 50 0 0 20 0 3 0 100 1000 10";
        assert_eq!(process_ticks(stat), Some(300));
    }

    #[test]
    fn this_process_has_used_time_and_memory() {
        let before = CpuTime::of(std::process::id(), "").unwrap();
        let mut sum = 0u64;
        while before.at.elapsed() < Duration::from_millis(60) {
            sum = sum.wrapping_add(std::hint::black_box(1));
        }
        let after = CpuTime::of(std::process::id(), "").unwrap();
        assert!(after.total > before.total || after.named > before.named, "{sum}");
        assert!(memory_kib(std::process::id()).unwrap() > 100);
    }
}
