#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::*;

fn rule(window: Window) -> BreakerPolicy {
    BreakerPolicy {
        name: "b".into(),
        index: 0,
        window,
        failure_rate: 50,
        slow_call: 1000,
        slow_rate: 100,
        minimum_calls: 4,
        open: 5000,
        half_open_permits: 2,
        failure_statuses: vec![500],
    }
}

fn at(millis: u64) -> Timestamp {
    Timestamp::from_millis(1_700_000_000_000 + millis)
}

fn call(
    b: &mut Breaker,
    rule: &BreakerPolicy,
    failed: bool,
    took: Millis,
    now: u64,
) -> Option<StateName> {
    let permit = b.acquire(rule, 100, at(now)).unwrap();
    b.record(rule, permit, Some(Outcome { failed, took }), at(now))
}

fn opened(rule: &BreakerPolicy) -> Breaker {
    let mut b = Breaker::new(rule);
    for _ in 0..3 {
        assert_eq!(call(&mut b, rule, true, 0, 0), None);
    }
    assert_eq!(call(&mut b, rule, true, 0, 0), Some(StateName::Open));
    b
}

#[test]
fn failures_open_only_from_the_minimum_of_calls_on() {
    let rule = rule(Window::Calls(10));
    let mut b = opened(&rule);
    assert_eq!(b.acquire(&rule, 100, at(4999)), Err(at(5000)));
    assert!(b.acquire(&rule, 100, at(5000)).is_ok());
    assert_eq!(b.state(), StateName::HalfOpen);
}

#[test]
fn a_circuit_moves_in_time_though_nobody_asks() {
    let rule = rule(Window::Calls(10));
    let mut b = opened(&rule);
    assert_eq!(b.poll_timeout(&rule), Some(at(5000)));
    b.handle_timeout(&rule, at(4999));
    assert_eq!(b.state(), StateName::Open);
    b.handle_timeout(&rule, at(5000));
    assert_eq!(
        (b.state(), b.poll_timeout(&rule)),
        (StateName::HalfOpen, None)
    );
    for tried in [5001, 5002] {
        let permit = b.acquire(&rule, 100, at(tried)).unwrap();
        assert_eq!(b.answered(&rule, permit, 1, at(tried)), None);
    }
    // Both heads have come, and their bodies take longer than a call may be tried.
    assert_eq!(b.poll_timeout(&rule), Some(at(5101)));
    b.handle_timeout(&rule, at(5101));
    assert_eq!(b.state(), StateName::HalfOpen);
    b.handle_timeout(&rule, at(5102));
    assert_eq!(
        (b.state(), b.poll_timeout(&rule)),
        (StateName::Closed, None)
    );
}

#[test]
fn slow_calls_open_too() {
    let rule = rule(Window::Calls(10));
    let mut b = Breaker::new(&rule);
    for _ in 0..3 {
        call(&mut b, &rule, false, 1000, 0);
    }
    assert_eq!(call(&mut b, &rule, false, 1000, 0), Some(StateName::Open));
}

#[test]
fn half_open_gives_few_permits_and_closes_on_success() {
    let rule = rule(Window::Calls(10));
    let mut b = opened(&rule);
    let one = b.acquire(&rule, 100, at(5000)).unwrap();
    let two = b.acquire(&rule, 100, at(5001)).unwrap();
    assert_eq!(b.acquire(&rule, 100, at(5002)), Err(at(5100)));
    let good = Some(Outcome {
        failed: false,
        took: 1,
    });
    assert_eq!(b.record(&rule, one, good, at(5003)), None);
    assert_eq!(
        b.record(&rule, two, good, at(5004)),
        Some(StateName::Closed)
    );
}

#[test]
fn a_lost_permit_expires_so_half_open_cannot_stick() {
    let rule = rule(Window::Calls(10));
    let mut b = opened(&rule);
    let lost = b.acquire(&rule, 100, at(5000)).unwrap();
    assert!(b.acquire(&rule, 100, at(5000)).is_ok());
    assert!(b.acquire(&rule, 100, at(5099)).is_err());
    assert!(b.acquire(&rule, 100, at(5100)).is_ok());
    assert_eq!(
        b.record(
            &rule,
            lost,
            Some(Outcome {
                failed: true,
                took: 1
            }),
            at(5101)
        ),
        None,
        "an expired permit says nothing"
    );
}

#[test]
fn a_result_of_an_older_generation_moves_nothing() {
    let rule = rule(Window::Calls(10));
    let mut b = Breaker::new(&rule);
    let early = b.acquire(&rule, 100, at(0)).unwrap();
    for _ in 0..4 {
        call(&mut b, &rule, true, 0, 0);
    }
    b.acquire(&rule, 100, at(5000)).unwrap();
    let good = Some(Outcome {
        failed: false,
        took: 1,
    });
    assert_eq!(b.record(&rule, early, good, at(5001)), None);
    assert_eq!(b.state(), StateName::HalfOpen);
}

#[test]
fn an_ignored_call_frees_its_permit() {
    let rule = rule(Window::Calls(10));
    let mut b = opened(&rule);
    let one = b.acquire(&rule, 100, at(5000)).unwrap();
    b.acquire(&rule, 100, at(5000)).unwrap();
    assert_eq!(b.record(&rule, one, None, at(5001)), None);
    assert!(b.acquire(&rule, 100, at(5001)).is_ok());
}

#[test]
fn a_time_window_forgets() {
    let rule = rule(Window::Time(10_000));
    let mut b = Breaker::new(&rule);
    for _ in 0..3 {
        call(&mut b, &rule, true, 0, 0);
    }
    assert_eq!(call(&mut b, &rule, true, 0, 11_000), None);
    for _ in 0..2 {
        call(&mut b, &rule, true, 0, 11_000);
    }
    assert_eq!(call(&mut b, &rule, true, 0, 12_000), Some(StateName::Open));
}
