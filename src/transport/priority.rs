//! What the scheduler is told about the media threads: that they come first, and on which processors they run.
//!
//! On a busy core this is the difference between 4 ms and 0.2 ms of pacing error. A real-time thread that never slept would
//! lock the machine up; a media thread sleeps in every slot, also when it is late ([`super::clock`]), which is all that a
//! limit on real-time CPU (`RLIMIT_RTTIME`) asks for too.

use nix::errno::Errno;
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;
use std::sync::Once;
use thread_priority::{
    RealtimeThreadSchedulePolicy, ThreadPriority, ThreadPriorityValue, ThreadSchedulePolicy,
    set_thread_priority_and_policy, thread_native_id,
};

/// `SCHED_FIFO` 1 to 99: above everything ordinary, below the threads of the kernel (50).
const FIFO_PRIORITY: u8 = 10;

/// The thread that calls this asks to run before all ordinary ones.
pub(super) fn ask_for_real_time() {
    static TOLD: Once = Once::new();
    let asked = ThreadPriorityValue::try_from(FIFO_PRIORITY).map_err(|_| Errno::EINVAL).and_then(|priority| {
        set_thread_priority_and_policy(
            thread_native_id(),
            ThreadPriority::Crossplatform(priority),
            ThreadSchedulePolicy::Realtime(RealtimeThreadSchedulePolicy::Fifo),
        )
        .map_err(|error| match error {
            thread_priority::Error::OS(number) => Errno::from_raw(number),
            _ => Errno::EINVAL,
        })
    });
    if let Err(error) = asked {
        TOLD.call_once(|| {
            tracing::info!(%error, "media threads have ordinary priority: on a busy machine packets leave some milliseconds \
                late; give the process CAP_SYS_NICE, or a limit like `LimitRTPRIO=10` in its service unit");
        });
    }
}

/// The first of `cpus` that this process may not run on.
pub(super) fn forbidden(cpus: &[usize]) -> Result<Option<usize>, Errno> {
    let allowed = sched_getaffinity(Pid::from_raw(0))?;
    Ok(cpus.iter().copied().find(|cpu| !allowed.is_set(*cpu).unwrap_or(false)))
}

/// The thread that calls this runs on this processor alone from now on.
pub(super) fn pin(cpu: usize) -> Result<(), Errno> {
    let mut only = CpuSet::new();
    only.set(cpu)?;
    sched_setaffinity(Pid::from_raw(0), &only)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_processor_that_is_not_there_is_found_out() {
        let allowed = sched_getaffinity(Pid::from_raw(0)).unwrap();
        let one = (0..CpuSet::count()).find(|cpu| allowed.is_set(*cpu).unwrap()).unwrap();
        assert_eq!(forbidden(&[one, one]), Ok(None));
        assert_eq!(forbidden(&[one, 1023, 1022]), Ok(Some(1023)));
        assert_eq!(forbidden(&[100_000]), Ok(Some(100_000)));
    }

    #[test]
    fn a_pinned_thread_stays_on_its_processor() {
        std::thread::spawn(|| {
            let allowed = sched_getaffinity(Pid::from_raw(0)).unwrap();
            let last = (0..CpuSet::count()).rfind(|cpu| allowed.is_set(*cpu).unwrap()).unwrap();
            pin(last).unwrap();
            let now = sched_getaffinity(Pid::from_raw(0)).unwrap();
            assert_eq!((0..CpuSet::count()).filter(|cpu| now.is_set(*cpu).unwrap()).collect::<Vec<_>>(), [last]);
        })
        .join()
        .unwrap();
    }
}
