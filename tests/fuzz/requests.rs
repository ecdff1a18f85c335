//! Any call of the helper, and anything that the programs it runs may print.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| banjour::netfilter::properties::check(data));
