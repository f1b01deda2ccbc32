#![no_main]

use libfuzzer_sys::fuzz_target;
use tidegate_tests::fuzzed;

fuzz_target!(|data: &[u8]| fuzzed::tokens(data));
