#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::*;

fn unpacked<T: Packed>(bytes: &[u8]) -> Option<T> {
    let mut from = Unpacking::of(bytes);
    let value = T::unpack(&mut from);
    from.ended_well().then_some(value)
}

fn check<T: Packed + PartialEq + std::fmt::Debug>(value: &T, bytes: &[u8]) {
    let mut packed = Vec::new();
    value.pack(&mut packed);
    assert_eq!(packed, bytes, "{value:?}");
    assert_eq!(unpacked::<T>(&packed).as_ref(), Some(value));
    for length in 0..packed.len() {
        assert_eq!(unpacked::<T>(&packed[..length]), None, "{length}");
    }
    packed.push(0);
    assert_eq!(unpacked::<T>(&packed), None, "something is left");
}

#[test]
fn values_come_back_and_parts_of_them_do_not() {
    check(&0u64, &[0]);
    check(&300u16, &[0xac, 2]);
    let largest = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1];
    check(&u64::MAX, &largest);
    check(&Some("a".to_owned()), &[1, 1, b'a']);
    let list = vec![(true, None::<u8>), (false, Some(7))];
    check(&list, &[2, 1, 0, 0, 1, 7]);
    check(&Scheme::HTTPS, &[1]);
    check(&StatusCode::NOT_FOUND, &[0x94, 3]);
    check(&Method::GET, b"\x03GET");
    check(&1.5f64, &1.5f64.to_le_bytes());
}

#[test]
fn what_is_no_value_is_refused() {
    assert_eq!(unpacked::<bool>(&[2]), None);
    assert_eq!(unpacked::<u16>(&[0xff, 0xff, 4]), None);
    assert_eq!(unpacked::<u64>(&[0x80; 11]), None);
    assert_eq!(unpacked::<String>(&[1, 0xff]), None);
    assert_eq!(unpacked::<HeaderName>(&[1, b' ']), None);
    // A length beyond memory allocates nothing.
    let long = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f];
    assert_eq!(unpacked::<Vec<u8>>(&long), None);
    assert_eq!(unpacked::<String>(&long), None);
}
