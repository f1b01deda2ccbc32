#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::*;
use crate::limit::{Quota, Rule};

fn order(key: &str) -> Override {
    Override {
        limit: "l".into(),
        key: vec![key.as_bytes().to_vec()],
        quota: "5/min".into(),
        burst: None,
    }
}

fn meant(key: &str, name: &Arc<str>) -> Meant {
    let quota = Quota {
        amount: 5,
        period: 60_000,
        burst: 5,
    };
    let limit = Limit {
        name: Arc::clone(name),
        ..Limit::new("l", Rule::Rate(quota))
    };
    (CounterKey::of(key.as_bytes()), Arc::new(limit))
}

#[test]
fn one_key_has_one_override_however_it_is_written() {
    let (overrides, name) = (Overrides::default(), Arc::from("l"));
    assert!(overrides.set(order("joe"), meant("joe", &name)));
    assert!(overrides.set(order(" joe"), meant("joe", &name)));
    assert!(overrides.set(order("ann"), meant("ann", &name)));
    assert_eq!(
        overrides.list("l"),
        [(order(" joe"), true), (order("ann"), true)]
    );
    assert_eq!(overrides.list("m"), []);
    let joe = CounterKey::of(b"joe");
    assert!(overrides.find(&joe, &name).is_some());
    assert!(overrides.remove("l", &order("joe").key, Some(&joe)));
    assert!(!overrides.remove("l", &order("joe").key, Some(&joe)));
    assert!(overrides.find(&joe, &name).is_none());
    assert!(overrides.find(&CounterKey::of(b"ann"), &name).is_some());
}

#[test]
fn what_another_policy_does_not_know_rests_until_one_does() {
    let (overrides, name) = (Overrides::default(), Arc::from("l"));
    let joe = CounterKey::of(b"joe");
    assert!(overrides.set(order("joe"), meant("joe", &name)));
    overrides.follow(|_| None);
    assert_eq!(overrides.list("l"), [(order("joe"), false)]);
    assert!(overrides.find(&joe, &name).is_none());
    let later: Arc<str> = Arc::from("l");
    overrides.follow(|_| Some(meant("joe", &later)));
    // Whoever has begun under the policy before ends with the quota of that.
    assert!(overrides.find(&joe, &name).is_none());
    assert!(overrides.find(&joe, &later).is_some());
    overrides.follow(|_| None);
    assert!(overrides.remove("l", &order("joe").key, None));
    assert_eq!(overrides.list("l"), []);
}

#[test]
fn there_is_room_for_a_bounded_number_of_keys() {
    let (overrides, name) = (Overrides::default(), Arc::from("l"));
    let entries = (0..OVERRIDES_MAX).map(|n| Entry {
        order: order(&n.to_string()),
        meant: Some(meant(&n.to_string(), &name)),
    });
    overrides.write().entries.extend(entries);
    assert!(!overrides.set(order("one more"), meant("one more", &name)));
    assert!(overrides.set(order("7"), meant("7", &name)));
    assert_eq!(overrides.list("l").len(), OVERRIDES_MAX);
}
