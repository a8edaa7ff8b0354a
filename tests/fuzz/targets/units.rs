//! Sizes, rates and durations: read or refused, and exact ones are read back.
#![no_main]
use libfuzzer_sys::fuzz_target;
use onward_fuzz::units;

fuzz_target!(|text: &str| {
    if let Ok(bytes) = units::size(text) {
        assert_eq!(units::size(&units::exact(bytes)), Ok(bytes));
        let _ = (units::bytes(bytes), units::rate(text));
    }
    if let Ok(time) = units::duration(text) {
        units::period(time);
    }
});
