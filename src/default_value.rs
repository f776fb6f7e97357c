//! Fields of records that are left out while they have the default value of their type.

/// Returns true for a default value, such as 0 or false. For serde's `skip_serializing_if`.
pub(crate) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}
