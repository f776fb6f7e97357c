//! Identifiers in the forms of the real API.

/// Digits of a ULID.
const DIGITS: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/// Returns the id of a machine: 14 hexadecimal digits.
pub(super) fn machine() -> String {
    format!("{:014x}", rand::random::<u64>() >> 8)
}

/// Returns a ULID, the form of versions and events.
pub(super) fn version() -> String {
    let millisecond = u128::try_from(jiff::Timestamp::now().as_millisecond()).unwrap_or_default();
    let value = (millisecond << 80) | (rand::random::<u128>() >> 48);
    let digit = |place: u32| char::from(DIGITS[usize::try_from((value >> (5 * place)) & 31).unwrap_or(0)]);
    (0..26).rev().map(digit).collect()
}

/// Returns an address of the private network.
pub(super) fn address() -> String {
    let part = rand::random::<u16>;
    format!("fdaa:0:{:x}:a7b:{:x}:{:x}:{:x}:2", part(), part(), part(), part())
}

/// Returns the nonce of a lease: 12 hexadecimal digits.
pub(super) fn nonce() -> String {
    format!("{:012x}", rand::random::<u64>() >> 16)
}
