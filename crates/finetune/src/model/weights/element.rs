//! Number formats of weight files: 32-bit floats, and floats of 16 and 64 bits.

use half::{bf16, f16};
use safetensors::Dtype;

/// Number format of a tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Element {
    Float64,
    Float32,
    Float16,
    BFloat16,
}

impl Element {
    /// Names of the supported formats, for error messages.
    pub(super) const SUPPORTED: &str = "F32, F64, F16 and BF16";

    pub(super) fn from_dtype(dtype: Dtype) -> Option<Self> {
        match dtype {
            Dtype::F64 => Some(Self::Float64),
            Dtype::F32 => Some(Self::Float32),
            Dtype::F16 => Some(Self::Float16),
            Dtype::BF16 => Some(Self::BFloat16),
            _ => None,
        }
    }

    /// Returns the number of bytes per number.
    pub(super) fn size(self) -> usize {
        match self {
            Self::Float64 => 8,
            Self::Float32 => 4,
            Self::Float16 | Self::BFloat16 => 2,
        }
    }

    /// Appends the numbers in `bytes` to `into`. A 32-bit float holds each of them exactly, except
    /// 64-bit floats, which are rounded to nearest, as the library does when it loads them.
    pub(super) fn decode(self, bytes: &[u8], into: &mut Vec<f32>) {
        match self {
            Self::Float64 => {
                into.extend(bytes.as_chunks().0.iter().map(|eight| f64::from_le_bytes(*eight) as f32));
            }
            Self::Float32 => into.extend(bytes.as_chunks().0.iter().map(|four| f32::from_le_bytes(*four))),
            Self::Float16 => {
                into.extend(bytes.as_chunks().0.iter().map(|two| f16::from_le_bytes(*two).to_f32()));
            }
            Self::BFloat16 => {
                into.extend(bytes.as_chunks().0.iter().map(|two| bf16::from_le_bytes(*two).to_f32()));
            }
        }
    }

    /// Writes numbers into `bytes`, rounded to nearest (ties to even, as in PyTorch).
    pub(super) fn encode(self, numbers: &[f32], bytes: &mut [u8]) {
        for (slot, number) in bytes.chunks_exact_mut(self.size()).zip(numbers) {
            match self {
                Self::Float64 => slot.copy_from_slice(&f64::from(*number).to_le_bytes()),
                Self::Float32 => slot.copy_from_slice(&number.to_le_bytes()),
                Self::Float16 => slot.copy_from_slice(&f16::from_f32(*number).to_le_bytes()),
                Self::BFloat16 => slot.copy_from_slice(&bf16::from_f32(*number).to_le_bytes()),
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
        fn a_64_bit_float_is_the_nearest_32_bit_float(number: f64) {
            let (mut numbers, mut bytes) = (Vec::new(), [0; 8]);
            Element::Float64.decode(&number.to_le_bytes(), &mut numbers);
            prop_assert_eq!(numbers[0].to_bits(), (number as f32).to_bits());
            Element::Float64.encode(&numbers, &mut bytes);
            prop_assert_eq!(f64::from_le_bytes(bytes), f64::from(numbers[0]));
        }

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
