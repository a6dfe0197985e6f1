//! What became of numbered frames on their way: which came, which came twice, which came behind later ones.

use crate::wire::rtp::extend_sequence;

/// How far back a frame can be told from a duplicate.
const WINDOW: i64 = 64;

/// What a number means to the stream that it is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Arrival {
    /// It has not been there before.
    New {
        /// One with a higher number came before it.
        overtaken: bool,
    },
    /// It came before.
    Duplicate,
}

/// The numbers of one stream.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sequence {
    seen: Option<Seen>,
}

#[derive(Clone, Copy, Debug)]
struct Seen {
    first: i64,
    highest: i64,
    /// Bit n: `highest - n` has come.
    recent: u64,
    unique: u64,
}

impl Sequence {
    /// Takes in the number of a frame; numbers wrap at 16 bits.
    pub(super) fn take(&mut self, number: u16) -> Arrival {
        let Some(seen) = &mut self.seen else {
            let number = i64::from(number);
            self.seen = Some(Seen { first: number, highest: number, recent: 1, unique: 1 });
            return Arrival::New { overtaken: false };
        };
        let number = extend_sequence(seen.highest, number);
        let ahead = number - seen.highest;
        if ahead > 0 {
            seen.recent = if ahead < WINDOW { seen.recent << ahead | 1 } else { 1 };
            seen.highest = number;
            seen.unique += 1;
            return Arrival::New { overtaken: false };
        }
        let bit = if -ahead < WINDOW { 1 << -ahead } else { 0 };
        if seen.recent & bit != 0 {
            return Arrival::Duplicate;
        }
        seen.recent |= bit;
        seen.first = seen.first.min(number);
        seen.unique += 1;
        Arrival::New { overtaken: true }
    }

    /// How many different ones came.
    pub(super) fn unique(&self) -> u64 {
        self.seen.map_or(0, |seen| seen.unique)
    }

    /// How many are missing between the lowest and the highest that came.
    pub(super) fn gaps(&self) -> u64 {
        self.seen.map_or(0, |seen| ((seen.highest - seen.first + 1) as u64).saturating_sub(seen.unique))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(numbers: &[u16]) -> (Sequence, Vec<Arrival>) {
        let mut sequence = Sequence::default();
        let arrivals = numbers.iter().map(|&number| sequence.take(number)).collect();
        (sequence, arrivals)
    }

    const IN_ORDER: Arrival = Arrival::New { overtaken: false };

    #[test]
    fn a_stream_in_order_over_the_wrap_has_no_gaps() {
        let (sequence, arrivals) = after(&[65_534, 65_535, 0, 1]);
        assert_eq!((sequence.unique(), sequence.gaps()), (4, 0));
        assert!(arrivals.iter().all(|&arrival| arrival == IN_ORDER));
    }

    #[test]
    fn what_is_missing_doubled_and_overtaken_is_told_apart() {
        let (sequence, arrivals) = after(&[10, 12, 12, 11, 15, 11]);
        let expected =
            [IN_ORDER, IN_ORDER, Arrival::Duplicate, Arrival::New { overtaken: true }, IN_ORDER, Arrival::Duplicate];
        assert_eq!(arrivals, expected);
        assert_eq!((sequence.unique(), sequence.gaps()), (4, 2));
    }

    #[test]
    fn a_jump_is_a_gap() {
        let (sequence, _) = after(&[0, 1000]);
        assert_eq!((sequence.unique(), sequence.gaps()), (2, 999));
    }
}
