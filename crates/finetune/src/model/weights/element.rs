//! Number formats of weight files: 32-bit floats, floats rounded to 16 bits, and 64-bit floats, which
//! are rounded to 32 bits when they are read.

use half::{bf16, f16};
use safetensors::Dtype;

/// Number format of a tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Element {
    Float32,
    Float16,
    BFloat16,
    Float64,
}

impl Element {
    /// Names of the supported formats, for error messages.
    pub(super) const SUPPORTED: &str = "F32, F16, BF16 and F64";

    pub(super) fn from_dtype(dtype: Dtype) -> Option<Self> {
        match dtype {
            Dtype::F32 => Some(Self::Float32),
            Dtype::F16 => Some(Self::Float16),
            Dtype::BF16 => Some(Self::BFloat16),
            Dtype::F64 => Some(Self::Float64),
            _ => None,
        }
    }

    /// Returns the number of bytes per number.
    pub(super) fn size(self) -> usize {
        match self {
            Self::Float32 => 4,
            Self::Float16 | Self::BFloat16 => 2,
            Self::Float64 => 8,
        }
    }

    /// Appends the numbers in `bytes` to `into`. A 32-bit float holds each of them exactly, except for
    /// 64-bit ones, which are rounded to nearest.
    pub(super) fn decode(self, bytes: &[u8], into: &mut Vec<f32>) {
        match self {
            Self::Float32 => into.extend(bytes.as_chunks().0.iter().map(|four| f32::from_le_bytes(*four))),
            Self::Float16 => {
                into.extend(bytes.as_chunks().0.iter().map(|two| f16::from_le_bytes(*two).to_f32()));
            }
            Self::BFloat16 => {
                into.extend(bytes.as_chunks().0.iter().map(|two| bf16::from_le_bytes(*two).to_f32()));
            }
            Self::Float64 => {
                into.extend(bytes.as_chunks().0.iter().map(|eight| f64::from_le_bytes(*eight) as f32));
            }
        }
    }

    /// Writes numbers into `bytes`, rounded to nearest (ties to even, as in PyTorch).
    pub(super) fn encode(self, numbers: &[f32], bytes: &mut [u8]) {
        for (slot, number) in bytes.chunks_exact_mut(self.size()).zip(numbers) {
            match self {
                Self::Float32 => slot.copy_from_slice(&number.to_le_bytes()),
                Self::Float16 => slot.copy_from_slice(&f16::from_f32(*number).to_le_bytes()),
                Self::BFloat16 => slot.copy_from_slice(&bf16::from_f32(*number).to_le_bytes()),
                Self::Float64 => slot.copy_from_slice(&f64::from(*number).to_le_bytes()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_a_file_holds_comes_back_unchanged(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            for element in [Element::Float32, Element::Float16, Element::BFloat16] {
                let whole = &bytes[..bytes.len() / element.size() * element.size()];
                let mut numbers = Vec::new();
                element.decode(whole, &mut numbers);
                prop_assert_eq!(numbers.len() * element.size(), whole.len());
                if numbers.iter().all(|number| !number.is_nan()) {
                    let mut again = vec![0; whole.len()];
                    element.encode(&numbers, &mut again);
                    prop_assert_eq!(&again, whole);
                }
            }
        }
    }
}
