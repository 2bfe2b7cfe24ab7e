//! What a Raspberry Pi's firmware says of its power: the throttle bits.
//!
//! Source: Raspberry Pi documentation, `vcgencmd get_throttled`; include/soc/bcm2835/raspberrypi-firmware.h, tag 0x30046.
//! The file `get_throttled` below /sys/devices/platform/soc is never read: it is deprecated, shows an old value, and reading
//! it puts a stack trace into the kernel's log.

use serde::{Deserialize, Serialize};

/// The firmware's word on power and heat.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Throttled(pub u32);

/// One thing that the firmware tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Power {
    /// The 5 V supply is too low.
    UnderVoltage,
    /// The clock is capped.
    Capped,
    /// The processor is slowed down.
    Throttled,
    /// The soft limit of temperature is reached.
    SoftLimit,
}

impl Power {
    /// All of them, in the order of their bits.
    pub const ALL: [Self; 4] = [Self::UnderVoltage, Self::Capped, Self::Throttled, Self::SoftLimit];

    /// In words.
    pub fn words(self) -> &'static str {
        match self {
            Self::UnderVoltage => "under-voltage",
            Self::Capped => "clock capped",
            Self::Throttled => "throttled",
            Self::SoftLimit => "soft temperature limit",
        }
    }
}

impl Throttled {
    /// Whether it is so now (bits 0 to 3).
    pub fn now(self, power: Power) -> bool {
        self.0 & (1 << power as u32) != 0
    }

    /// Whether it was so since boot (bits 16 to 19).
    pub fn since_boot(self, power: Power) -> bool {
        self.0 & (1 << (16 + power as u32)) != 0
    }

    /// Reads what `vcgencmd get_throttled` prints: `throttled=0x50005`.
    pub fn parse(text: &str) -> Option<Self> {
        let hex = text.trim().strip_prefix("throttled=0x")?;
        u32::from_str_radix(hex, 16).ok().map(Self)
    }

    /// The message to the firmware that asks for the bits: size, request, tag, room, request, value, end. Bytes are the
    /// processor's own, which on a Pi are little-endian.
    pub fn question() -> [u32; 7] {
        // The value sent says which sticky bits to clear: none.
        [28, 0, 0x0003_0046, 4, 0, 0, 0]
    }

    /// Reads the firmware's answer in the same seven words.
    pub fn answer(words: &[u32; 7]) -> Option<Self> {
        // 0x80000000: done; the high bit of the fifth word: the tag was answered.
        (words[1] == 0x8000_0000 && words[4] & 0x8000_0000 != 0).then_some(Self(words[5]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bits() {
        let bits = Throttled::parse("throttled=0x50005\n").unwrap();
        assert!(bits.now(Power::UnderVoltage) && bits.now(Power::Throttled) && !bits.now(Power::Capped));
        assert!(bits.since_boot(Power::UnderVoltage) && !bits.since_boot(Power::SoftLimit));
        assert_eq!(Throttled::parse("VCHI initialization failed"), None);
    }

    #[test]
    fn an_answer_must_be_one() {
        let mut words = Throttled::question();
        assert_eq!(Throttled::answer(&words), None);
        words[1] = 0x8000_0000;
        assert_eq!(Throttled::answer(&words), None);
        words[4] = 0x8000_0004;
        words[5] = 0x5_0000;
        assert_eq!(Throttled::answer(&words), Some(Throttled(0x5_0000)));
    }
}
