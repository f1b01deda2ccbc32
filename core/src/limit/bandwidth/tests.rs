#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::*;
use crate::hash;

const START: u64 = 1_700_000_000_000;

fn at(millis: u64) -> Timestamp {
    Timestamp::from_millis(START + millis)
}

const fn rate(bytes: u64, period: Millis, burst: u64) -> ByteRate {
    ByteRate {
        bytes,
        period,
        burst,
    }
}

#[test]
fn the_burst_goes_at_once_and_the_rest_waits_its_time() {
    let rate = rate(1000, 1000, 2500);
    let mut state = None;
    let mut waits = Vec::new();
    for (millis, bytes) in [(0, 2000), (0, 500), (0, 100), (0, 100), (150, 50), (250, 1)] {
        let (next, wait) = rate.take(state, bytes, at(millis));
        state = Some(next);
        waits.push(wait);
    }
    assert_eq!(waits, [0, 0, 100, 200, 100, 1]);
}

#[test]
fn a_chunk_larger_than_the_burst_passes_after_its_time() {
    let rate = rate(1000, 1000, 10);
    let (state, wait) = rate.take(None, 1010, at(0));
    assert_eq!(wait, 1000);
    assert_eq!(rate.take(Some(state), 10, at(1000)).1, 10);
}

#[test]
fn what_is_given_back_is_as_if_it_had_not_been_taken() {
    let rate = rate(1000, 1000, 1000);
    let (before, _) = rate.take(None, 1000, at(0));
    let (taken, wait) = rate.take(Some(before), 300, at(0));
    assert_eq!(wait, 300);
    let given_back = rate.give_back(taken, 300);
    assert_eq!(rate.take(Some(given_back), 100, at(0)).1, 100);
}

#[test]
fn nothing_is_lost_to_rounding() {
    // A third of a byte each millisecond, in chunks that never come out even.
    let rate = rate(333, 1000, 1);
    let (mut state, mut now, mut sent) = (None, 0, 0_u64);
    while now < 100_000 {
        let (next, wait) = rate.take(state, 7, at(now));
        state = Some(next);
        now += wait;
        sent += 7;
    }
    assert!((33_293..=33_314).contains(&sent), "{sent}");
}

#[test]
fn a_clock_that_is_set_back_makes_no_stream_wait_longer() {
    let rate = rate(1000, 1000, 1000);
    let (state, _) = rate.take(None, 1000, at(86_400_000));
    let (state, wait) = rate.take(Some(state), 500, at(0));
    assert_eq!(wait, 500, "a day back");
    assert_eq!(rate.take(Some(state), 500, at(500)).1, 500);
}

#[test]
fn a_clock_that_goes_back_little_by_little_holds_nobody_up() {
    let rate = rate(1000, 1000, 1000);
    let (mut state, _) = rate.take(None, 1000, at(6000));
    for step in 1..=10 {
        let (next, wait) = rate.take(Some(state), 1, at(6000 - 600 * step));
        assert!(wait <= 1000 + step, "{wait} in step {step}");
        state = next;
    }
}

#[test]
fn clocks_that_are_a_little_apart_earn_nothing() {
    let rate = rate(1_000_000, 1000, 1000);
    let mut state = None;
    let mut longest = 0;
    for turn in 0..1000 {
        let (next, wait) = rate.take(state, 1000, at(5 + turn % 2));
        state = Some(next);
        longest = wait.max(longest);
    }
    assert_eq!(
        longest, 998,
        "999 chunks of a millisecond, less the one that has passed"
    );
}

#[test]
fn extreme_values_saturate() {
    for rate in [
        rate(1, u64::MAX, u64::MAX),
        rate(u64::MAX, 60_000, 1),
        rate(0, 0, 0),
    ] {
        let last = Timestamp::from_millis(u64::MAX);
        let (state, _) = rate.take(None, u64::MAX, last);
        let (state, _) = rate.take(Some(state), u64::MAX, at(0));
        let _ = rate.give_back(state, u64::MAX);
    }
    let most = rate(ByteRate::BYTES_MAX, 60_000, ByteRate::BYTES_MAX);
    let (state, wait) = most.take(None, ByteRate::BYTES_MAX, at(0));
    assert_eq!(wait, 0);
    assert_eq!(most.take(Some(state), ByteRate::BYTES_MAX, at(0)).1, 60_000);
}

#[test]
fn chunks_are_a_tenth_of_a_second_within_bounds() {
    let chunk = |bytes, period| rate(bytes, period, 1).chunk();
    assert_eq!(chunk(100_000, 1000), 10_000);
    assert_eq!(chunk(6_000_000, 60_000), 10_000);
    assert_eq!(chunk(1, 60_000), CHUNK_MIN);
    assert_eq!(chunk(ByteRate::BYTES_MAX, 1000), CHUNK_MAX);
}

/// When a stream sent how much.
struct Sent {
    stream: usize,
    at: u64,
    bytes: u64,
}

/// Lets streams of one key send for a while, each as fast as it may; the clock at which they ask is
/// up to 3 ms behind.
fn simulate(rate: ByteRate, streams: usize, until: u64, seed: u64) -> Vec<Sent> {
    let mut state = None;
    let mut sent: Vec<Sent> = Vec::new();
    // When each stream asks next, and with how many bytes at hand.
    let mut asks: Vec<u64> = (0..streams).map(|stream| stream as u64 % 5).collect();
    let mut clock = 0;
    for turn in 0.. {
        let Some((stream, now)) = asks
            .iter()
            .copied()
            .enumerate()
            .min_by_key(|(stream, at)| (*at, *stream))
        else {
            break;
        };
        if now >= until {
            break;
        }
        clock = now.max(clock);
        let late = hash::draw(seed, turn) % 4;
        let bytes = rate.chunk() - hash::draw(seed, turn + 1_000_000) % 100;
        let (next, wait) = rate.take(state, bytes, at(clock.saturating_sub(late)));
        state = Some(next);
        sent.push(Sent {
            stream,
            at: clock + wait,
            bytes,
        });
        asks[stream] = clock + wait;
    }
    sent.sort_by_key(|sent| sent.at);
    sent
}

#[test]
fn in_no_time_more_is_sent_than_the_burst_and_what_the_time_earns() {
    for seed in 0..60 {
        let draw = |n: u64, most: u64| 1 + hash::draw(seed, n) % most;
        let rate = rate(
            1000 * draw(1, 300),
            if draw(2, 2) == 1 { 1000 } else { 60_000 },
            draw(3, 200_000),
        );
        let streams = usize::try_from(draw(4, 6)).unwrap();
        let sent = simulate(rate, streams, 20_000, seed);
        for first in 0..sent.len() {
            let mut bytes = 0;
            for last in &sent[first..] {
                bytes += last.bytes;
                // Clocks are up to 3 ms behind, and a wait is told in whole milliseconds.
                let time = last.at - sent[first].at + 4;
                let earned = (time * rate.bytes).div_ceil(rate.period);
                let most = rate.burst + earned + rate.chunk();
                assert!(bytes <= most, "seed {seed}: {bytes} of {most} in {time} ms");
            }
        }
    }
}

#[test]
fn streams_never_stand_still_and_share_alike() {
    for seed in 0..20 {
        let rate = rate(50_000 + 1000 * seed, 1000, 20_000);
        let streams = 1 + usize::try_from(seed % 5).unwrap();
        let sent = simulate(rate, streams, 30_000, seed);
        let total: u64 = sent.iter().map(|sent| sent.bytes).sum();
        let earned = rate.bytes * 30;
        assert!(
            total >= earned,
            "all that is earned is used: {total} of {earned}"
        );
        for stream in 0..streams {
            let own = sent.iter().filter(|sent| sent.stream == stream);
            let share: u64 = own.map(|sent| sent.bytes).sum();
            let even = total / streams as u64;
            let apart = share.abs_diff(even);
            assert!(apart <= even / 20 + 2 * rate.chunk(), "{share} of {even}");
        }
    }
}
