//! Any settings, and any filter.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| banjour::config::properties::check(data));
