#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| mainstay_fuzzing::snapshot_xml(data));
