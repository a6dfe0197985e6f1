//! What a listener would say of a link: the E-model of ITU-T G.107 with everything at its default that a packet network does
//! not change, and its translation to a mean opinion score (MOS).

use super::stats::ReceiveStats;
use crate::audio::Codec;
use std::time::Duration;

/// R of a connection without any fault: G.107 with all parameters at their defaults.
const BEST: f64 = 93.2;

/// How a codec suffers on a packet network: equipment impairment and robustness against packet loss, `Ie` and `Bpl`.
///
/// G.711 with concealment is in ITU-T G.113, appendix I. The others have no figures on this narrowband scale; they are
/// taken as perfect without loss, since none is worse than G.711. LINEAR16 is concealed exactly like G.711. The predictor
/// of G.722, and Opus in part, need some packets after a loss to be right again, so they are taken for less robust.
const fn impairment(codec: Codec) -> (f64, f64) {
    match codec {
        Codec::G711(_) | Codec::Linear16(_) => (0.0, 25.1),
        Codec::G722 | Codec::Opus => (0.0, 18.0),
    }
}

/// The transmission rating R, 0 to 93.2, of a direction that was received like this, if speech takes `delay` from mouth to
/// ear.
pub fn rating(codec: Codec, stats: &ReceiveStats, delay: Duration) -> f64 {
    let (equipment, robustness) = impairment(codec);
    let loss = stats.loss_fraction() * 100.0;
    let effective = equipment + (95.0 - equipment) * loss / (loss / stats.burst_ratio() + robustness);
    // The part of the delay, as straight lines: R. G. Cole and J. H. Rosenbluth, "Voice over IP performance monitoring", 2001.
    let ms = delay.as_secs_f64() * 1_000.0;
    let delayed = 0.024 * ms + 0.11 * (ms - 177.3).max(0.0);
    (BEST - delayed - effective).max(0.0)
}

/// The mean opinion score, 1 (bad) to 4.5, of a rating: G.107, annex B.
pub fn mean_opinion_score(rating: f64) -> f64 {
    match rating {
        r if r <= 0.0 => 1.0,
        r if r >= 100.0 => 4.5,
        // Just above 0 the polynomial falls below 1.
        r => (1.0 + 0.035 * r + r * (r - 60.0) * (100.0 - r) * 7e-6).max(1.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audio::SampleRate;
    use crate::audio::g711::Law;

    const G711: Codec = Codec::G711(Law::Mu);

    fn lost(lost: u64, of: u64, loss_runs: u64) -> ReceiveStats {
        ReceiveStats { received: of - lost, lost, loss_runs, ..ReceiveStats::default() }
    }

    #[track_caller]
    fn assert_near(value: f64, expected: f64) {
        assert!((value - expected).abs() < 0.01, "{value:.3}, not {expected}");
    }

    #[test]
    fn ratings_have_the_scores_of_the_recommendation() {
        // G.107, table B.1 names 90, 80, 70, 60 and 50.
        for (rating, score) in [
            (93.2, 4.41),
            (90.0, 4.34),
            (80.0, 4.03),
            (70.0, 3.60),
            (60.0, 3.10),
            (50.0, 2.58),
            (0.0, 1.0),
            (-5.0, 1.0),
        ] {
            assert!((mean_opinion_score(rating) - score).abs() < 0.01, "{rating}: {}", mean_opinion_score(rating));
        }
        assert_near(mean_opinion_score(100.0), 4.5);
        assert_near(mean_opinion_score(1.0), 1.0);
    }

    #[test]
    fn loss_and_delay_take_what_the_model_says() {
        let good = ReceiveStats::default();
        assert_near(rating(G711, &good, Duration::ZERO), 93.2);
        assert_near(rating(G711, &good, Duration::from_millis(150)), 89.6);
        assert_near(rating(G711, &good, Duration::from_millis(300)), 93.2 - 7.2 - 13.497);
        // 5 % at random: 95 * 5 / (5 + 25.1).
        assert_near(rating(G711, &lost(50, 1_000, 50), Duration::ZERO), 93.2 - 15.781);
        assert_near(mean_opinion_score(rating(G711, &lost(50, 1_000, 50), Duration::ZERO)), 3.92);
        // The same in stretches of four, 3.8 times as long as by chance: 95 * 5 / (5 / 3.8 + 25.1).
        assert_near(rating(G711, &lost(48, 960, 12), Duration::ZERO), 93.2 - 17.982);
        assert_near(rating(G711, &lost(1_000, 1_000, 1), Duration::from_secs(1)), 0.0);
    }

    #[test]
    fn late_packets_are_as_bad_as_lost_ones() {
        let late = ReceiveStats { received: 1_000, late: 50, loss_runs: 50, ..ReceiveStats::default() };
        assert_near(rating(G711, &late, Duration::ZERO), 93.2 - 15.781);
    }

    #[test]
    fn every_codec_is_best_without_loss() {
        for codec in [G711, Codec::G722, Codec::Linear16(SampleRate::HZ_16000), Codec::Opus] {
            assert_near(rating(codec, &ReceiveStats::default(), Duration::ZERO), BEST);
            assert!(rating(codec, &lost(30, 1_000, 30), Duration::ZERO) < 90.0);
        }
    }
}
