//! What a process costs, as the operating system says it: the clock of its CPU time, and `/proc`, see proc(5). Both count in
//! nanoseconds by the same account of the scheduler, so that a part is never more than the whole.

use nix::time::{clock_getcpuclockid, clock_gettime};
use nix::unistd::Pid;
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
        let clock = clock_getcpuclockid(Pid::from_raw(pid.cast_signed()))?;
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
        Ok(Self { at: Instant::now(), total: clock_gettime(clock)?.into(), named })
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

/// Time in which this machine, if it is a virtual one, wanted a processor and its host had none for it. In steps of 10 ms.
pub(super) fn stolen_time() -> Duration {
    let text = fs::read_to_string("/proc/stat").unwrap_or_default();
    let ticks = text.lines().next().and_then(|line| line.split_whitespace().nth(8)?.parse::<u64>().ok());
    // A hundredth of a second on every Linux of today.
    Duration::from_millis(ticks.unwrap_or(0) * 10)
}

/// What the figures were measured on: processor, how many of them, kernel.
pub(super) fn machine() -> String {
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model =
        cpuinfo.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": ")).map(|(_, name)| name);
    // All of them, not those that this tool has been placed on.
    let processors = cpuinfo.lines().filter(|line| line.starts_with("processor")).count();
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    format!("{} × {}, Linux {}", processors, model.unwrap_or("a processor without a name"), kernel.trim())
}

fn malformed() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "/proc says something that this program does not understand")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_used_time_and_memory() {
        let before = CpuTime::of(std::process::id(), "").unwrap();
        let mut sum = 0u64;
        while before.at.elapsed() < Duration::from_millis(60) {
            sum = sum.wrapping_add(std::hint::black_box(1));
        }
        let after = CpuTime::of(std::process::id(), "").unwrap();
        let (total, named) = (after.total - before.total, after.named - before.named);
        assert!(total >= Duration::from_millis(30) && named >= Duration::from_millis(30), "{total:?} {named:?} {sum}");
        assert!(memory_kib(std::process::id()).unwrap() > 100);
    }
}
